@echo off
rem Start the program; fetches Python and creates or repairs its environment first. Works from any folder; paths that
rem you pass are relative to the folder you are in. Only what must run before there is a Python is written here:
rem the rest is in installer/ (python -m installer).
setlocal EnableExtensions DisableDelayedExpansion

set "ROOT=%~dp0"
if "%ROOT:~-1%"=="\" set "ROOT=%ROOT:~0,-1%"
set "VENV=%ROOT%\.venv"
set "STATE=%ROOT%\.state"
set "PY=%VENV%\Scripts\python.exe"

rem The tool that fetches Python where there is none: one file of the Python package index, known by its hash.
set "UV_VERSION=0.13.9"
set "UV_SHA256=6a44b2ed8111d2f60d2b92627c5dccda3f7ed7570b18ce115e569cd68c28246b"
set "UV_FILE=uv-%UV_VERSION%-py3-none-win_amd64.whl"
set "UV_URL=https://files.pythonhosted.org/packages/dd/ef/ceeabf3631117f7354787d9fb1ffe943899e59ed4b887a696ed547e47e76/%UV_FILE%"
if defined TRELLIS_UV_URL set "UV_URL=%TRELLIS_UV_URL%"

rem A double click passes no argument; then the window stays open after an error.
set "HOLD="
if "%~1"=="" set "HOLD=1"
set "COMMAND=%~1"
if "%COMMAND%"=="" set "COMMAND=ui"

set "PYTHONPATH=%ROOT%"
set "PYTHONHOME="
set "PYTHONUTF8=1"
set "PYTHONDONTWRITEBYTECODE="
if not defined OMP_WAIT_POLICY set "OMP_WAIT_POLICY=PASSIVE"

rem A network folder cannot be the current one, and started from there Windows makes its own folder the current one.
if /i "%CD%"=="%SystemRoot%" cd /d "%USERPROFILE%" 2>nul

set "GROUP=main"
if /i "%COMMAND%"=="ui" goto start
if /i "%COMMAND%"=="generate" goto start
if /i "%COMMAND%"=="batch" goto start
if /i "%COMMAND%"=="models" goto start
if /i "%COMMAND%"=="serve" goto start
if /i "%COMMAND%"=="train" goto start
if /i "%COMMAND%"=="exec" goto start
if /i "%COMMAND%"=="test" goto test
if /i "%COMMAND%"=="doctor" goto installer
if /i "%COMMAND%"=="setup" goto installer
if /i "%COMMAND%"=="update" goto installer
if /i "%COMMAND%"=="uninstall" goto uninstall
if /i "%COMMAND%"=="help" goto help
echo run.bat: unknown command "%COMMAND%"
call :usage
exit /b 2

:test
set "GROUP=dev"
:start
if not exist "%PY%" goto install
"%PY%" -P -S -m installer check --group %GROUP% 2>nul
if "%ERRORLEVEL%"=="0" goto launch
:install
call :find_python
if errorlevel 1 goto failed
%BASE% -P -m installer install --group %GROUP%
if not "%ERRORLEVEL%"=="0" goto failed
:launch
"%PY%" -P -m installer start %*
set "CODE=%ERRORLEVEL%"
if not "%CODE%"=="0" if defined HOLD goto failed
exit /b %CODE%

:installer
call :find_python
if errorlevel 1 goto failed
%BASE% -P -m installer %*
exit /b %ERRORLEVEL%

:help
call :usage
exit /b 0

rem Sets BASE to a Python that can create the environment, and fetches one if there is none.
:find_python
call :writable
if errorlevel 1 exit /b 1
set "BASE="
if defined TRELLIS_PYTHON set BASE="%TRELLIS_PYTHON%"
if defined BASE call :usable
if defined BASE exit /b 0
if defined TRELLIS_PYTHON echo TRELLIS_PYTHON is no 64-bit Python 3.11 or 3.12 with its module venv. Looking for another.
call :find_fetched
if defined BASE exit /b 0
for %%c in ("py -3.11" "py -3.12" "python") do if not defined BASE (
    set "BASE=%%~c"
    call :usable
)
if defined BASE exit /b 0
call :fetch_python
exit /b %ERRORLEVEL%

rem Clears BASE, a command (a path is within quotes), if that interpreter cannot create the environment.
:usable
%BASE% -c "import sys, venv, ensurepip; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 12) and sys.maxsize > 2**32))" >nul 2>nul
if not "%ERRORLEVEL%"=="0" set "BASE="
exit /b 0

:find_fetched
set "BASE="
if not exist "%STATE%\python\" exit /b 0
pushd "%STATE%\python"
for /d %%d in (cpython-3*) do if exist "%%d\python.exe" set BASE="%STATE%\python\%%~nxd\python.exe"
popd
if defined BASE call :usable
exit /b 0

:writable
if not exist "%STATE%\" md "%STATE%" 2>nul
(echo.>"%STATE%\write-test") 2>nul
if not exist "%STATE%\write-test" (
    echo This folder cannot be written to:
    echo   "%ROOT%"
    echo Copy it to a place of your own, such as the desktop or a folder in "%USERPROFILE%", and start again from there.
    exit /b 1
)
del "%STATE%\write-test" >nul 2>nul
exit /b 0

:fetch_python
set "UV="
if defined TRELLIS_UV set "UV=%TRELLIS_UV%"
if not defined UV if exist "%STATE%\uv\uv.exe" set "UV=%STATE%\uv\uv.exe"
if not defined UV call :fetch_uv
if not defined UV exit /b 1
echo Fetching Python 3.11 (about 20 MB) ...
set "UV_PYTHON_INSTALL_DIR=%STATE%\python"
set "UV_CACHE_DIR=%STATE%\uv-cache"
"%UV%" python install 3.11 --no-bin --no-registry --no-config >>"%STATE%\install.log" 2>&1
if not "%ERRORLEVEL%"=="0" (
    echo Python could not be fetched. Check the network or the proxy ^(HTTPS_PROXY^) and start again; or install
    echo the 64-bit Python 3.12 from python.org; or set TRELLIS_PYTHON to the path of a python.exe.
    exit /b 1
)
call :find_fetched
if defined BASE exit /b 0
echo Python was fetched and does not start. Install the 64-bit Python 3.12 from python.org and start again.
exit /b 1

rem Fetches uv.exe into .state\uv, goes on where an interrupted download stopped, and checks the hash.
:fetch_uv
echo No Python 3.11 or 3.12 is installed. Fetching one into this folder; nothing else on this computer is changed.
echo ==== fetching uv %UV_VERSION% >>"%STATE%\install.log"
curl.exe --version >nul 2>nul
if not "%ERRORLEVEL%"=="0" (
    echo This Windows has no curl.exe ^(Windows 10, version 1803, and newer have it^). Install the 64-bit Python 3.12 from
    echo python.org and start again.
    exit /b 1
)
if not exist "%STATE%\uv" md "%STATE%\uv"
set "PART=%STATE%\uv\%UV_FILE%.part"
curl.exe --fail --location --silent --show-error --retry 5 --retry-delay 2 --connect-timeout 20 --continue-at - --output "%PART%" "%UV_URL%" 2>>"%STATE%\install.log"
set "CODE=%ERRORLEVEL%"
call :check_uv
if not errorlevel 1 goto unpack_uv
rem After a network error what has arrived is kept. Otherwise these are not the right bytes: once more from the start.
if not "%CODE%"=="0" if not "%CODE%"=="33" if not "%CODE%"=="36" goto no_uv
del "%PART%" >nul 2>nul
curl.exe --fail --location --silent --show-error --retry 5 --retry-delay 2 --connect-timeout 20 --output "%PART%" "%UV_URL%" 2>>"%STATE%\install.log"
call :check_uv
if not errorlevel 1 goto unpack_uv
del "%PART%" >nul 2>nul
:no_uv
echo Python's installer could not be fetched, or is not the file that it should be. Check the network or the proxy,
echo HTTPS_PROXY, and start again: what has arrived is kept. Or install the 64-bit Python 3.12 from python.org.
exit /b 1
:unpack_uv
tar.exe -xf "%PART%" -C "%STATE%\uv" 2>>"%STATE%\install.log"
move /y "%STATE%\uv\uv-%UV_VERSION%.data\scripts\uv.exe" "%STATE%\uv\uv.exe" >nul 2>nul
if not exist "%STATE%\uv\uv.exe" (
    echo Python's installer could not be unpacked. Install the 64-bit Python 3.12 from python.org and start again.
    exit /b 1
)
del "%PART%" >nul 2>nul
set "UV=%STATE%\uv\uv.exe"
exit /b 0

:check_uv
if not exist "%PART%" exit /b 1
certutil.exe -hashfile "%PART%" SHA256 2>nul | findstr.exe /i /c:"%UV_SHA256%" >nul
exit /b %ERRORLEVEL%

rem Needs no Python, because the one in the folder is removed too. Models and results are kept.
:uninstall
if /i "%~2"=="--yes" goto remove
echo This removes the program's Python environment, its downloads and logs from
echo   "%ROOT%"
echo Models, results and the program's own files stay.
set "ANSWER="
set /p "ANSWER=Remove them? [y/N] "
if /i not "%ANSWER%"=="y" (
    echo Nothing was removed.
    exit /b 1
)
:remove
if exist "%VENV%" rd /s /q "%VENV%"
if exist "%STATE%" rd /s /q "%STATE%"
if exist "%VENV%" goto in_use
if exist "%STATE%" goto in_use
echo Removed. To remove the rest, delete the folder.
exit /b 0
:in_use
echo Some files are in use: close the program and run this once more.
exit /b 1

:usage
echo usage: run.bat [COMMAND] [ARGUMENTS...]
echo.
echo   ui         the page in the browser (default)
echo   generate   pictures to 3D assets:  run.bat generate PICTURE... --output DIR
echo   batch      a folder of pictures to 3D assets, going on where it stopped
echo   models     which models are here; run.bat models get NAME fetches one
echo   serve      page and API without opening a browser
echo   train      train the embedded model
echo   test       lint, types and tests (with arguments: only pytest, with them)
echo   doctor     what this machine has, what is installed and what would be used
echo   setup      install or repair only:  run.bat setup [--dry-run] [--repair] [--yes] [--extra NAME]
echo              [--download DIR] [--offline DIR]
echo   update     the newest version of the program (where git fetched it) and of its packages
echo   uninstall  remove the environment; models and results stay
echo   exec       any command inside the environment:  run.bat exec python script.py
exit /b 0

:failed
if exist "%STATE%\install.log" echo The log is "%STATE%\install.log".
if not defined HOLD exit /b 1
echo.
pause
exit /b 1
