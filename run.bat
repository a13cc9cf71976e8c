@echo off
rem Start the program; creates or repairs its Python environment first. Works from any folder; paths that you pass are
rem relative to the folder you are in. Only what must run before there is a Python is written here: the commands are in
rem installer/commands.py.
setlocal EnableExtensions DisableDelayedExpansion

set "ROOT=%~dp0"
if "%ROOT:~-1%"=="\" set "ROOT=%ROOT:~0,-1%"
set "VENV=%ROOT%\.venv"
set "STATE=%ROOT%\.state"
set "PY=%VENV%\Scripts\python.exe"
rem Its own tar unpacks wheels; the one that Git brings, which may come first on the PATH, does not.
set "SYSTEM32=%SystemRoot%\System32"

rem The tool that makes the environment: one file of the Python package index, known by its hash.
set "UV_VERSION=0.13.9"
set "UV_SHA256=6a44b2ed8111d2f60d2b92627c5dccda3f7ed7570b18ce115e569cd68c28246b"
set "UV_FILE=uv-%UV_VERSION%-py3-none-win_amd64.whl"
set "UV_URL=https://files.pythonhosted.org/packages/dd/ef/ceeabf3631117f7354787d9fb1ffe943899e59ed4b887a696ed547e47e76/%UV_FILE%"
if defined TRELLIS_UV_URL set "UV_URL=%TRELLIS_UV_URL%"

rem Everything that uv fetches stays in this folder. Certificates that Windows trusts are trusted.
if not defined UV_CACHE_DIR set "UV_CACHE_DIR=%STATE%\uv-cache"
if not defined UV_PYTHON_INSTALL_DIR set "UV_PYTHON_INSTALL_DIR=%STATE%\python"
if not defined UV_PYTHON set "UV_PYTHON=cpython->=3.11,<3.13-windows-x86_64-none"
if not defined UV_SYSTEM_CERTS set "UV_SYSTEM_CERTS=1"
set "UV_PYTHON_INSTALL_BIN=0"
set "UV_PYTHON_INSTALL_REGISTRY=0"

rem A double click passes no argument, and a picture that is dragged here itself; then the window stays open after an error.
set "HOLD="
set "UV="
if "%~1"=="" set "HOLD=1"
if not "%~x1"=="" if exist "%~1" set "HOLD=1"

set "PYTHONPATH=%ROOT%"
set "PYTHONHOME="
set "PYTHONUTF8=1"
set "PYTHONDONTWRITEBYTECODE="
if not defined OMP_WAIT_POLICY set "OMP_WAIT_POLICY=PASSIVE"

rem A network folder cannot be the current one, and started from there Windows makes its own folder the current one.
if /i "%CD%"=="%SystemRoot%" cd /d "%USERPROFILE%" 2>nul

if /i "%~1"=="uninstall" goto uninstall
if not exist "%PY%" goto prepare
"%PY%" -P -S -m installer ready %* 2>nul
if "%ERRORLEVEL%"=="0" goto launch
:prepare
call :writable
if errorlevel 1 goto failed
call :find_uv %*
if errorlevel 1 goto failed
call :make_environment
if errorlevel 1 goto failed
"%PY%" -P -m installer prepare %*
if not "%ERRORLEVEL%"=="0" goto failed
:launch
rem cmd reads a batch file on from the place it has come to, and update may put another file there: each of these lines,
rem which are read before the program starts, ends with the whole. No block: a parenthesis in a file's name would end it.
if not defined HOLD "%PY%" -P -m installer %* & goto :eof
"%PY%" -P -m installer %* && exit /b 0 || echo.& pause & exit /b 1

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

rem Sets UV, to one that is here, one in a folder of packages (setup --offline DIR), or a fetched one.
:find_uv
call :try_uv "%TRELLIS_UV%"
call :try_uv "%STATE%\uv\uv.exe"
for %%c in (uv.exe) do call :try_uv "%%~$PATH:c"
if defined UV exit /b 0
echo Fetching uv, which makes the program's Python environment in this folder; nothing else on this computer is changed.
if not exist "%STATE%\uv" md "%STATE%\uv"
set "PART=%STATE%\uv\%UV_FILE%"
if /i "%~1 %~2"=="setup --offline" if exist "%~3\%UV_FILE%" copy /y "%~3\%UV_FILE%" "%PART%" >nul
call :check_uv
if not errorlevel 1 goto unpack_uv
"%SYSTEM32%\curl.exe" --version >nul 2>nul
if not "%ERRORLEVEL%"=="0" (
    echo This Windows has no curl.exe ^(Windows 10, version 1803, and newer have it^). Fetch %UV_FILE%
    echo from pypi.org/project/uv/%UV_VERSION%, unpack it, and set TRELLIS_UV to the path of its uv.exe.
    exit /b 1
)
"%SYSTEM32%\curl.exe" --fail --location --silent --show-error --retry 5 --retry-delay 2 --connect-timeout 20 --continue-at - --output "%PART%" "%UV_URL%"
set "CODE=%ERRORLEVEL%"
call :check_uv
if not errorlevel 1 goto unpack_uv
rem After a network error what has arrived is kept. Otherwise these are not the right bytes: once more from the start.
if not "%CODE%"=="0" if not "%CODE%"=="33" if not "%CODE%"=="36" goto no_uv
del "%PART%" >nul 2>nul
"%SYSTEM32%\curl.exe" --fail --location --silent --show-error --retry 5 --retry-delay 2 --connect-timeout 20 --output "%PART%" "%UV_URL%"
call :check_uv
if not errorlevel 1 goto unpack_uv
del "%PART%" >nul 2>nul
:no_uv
echo uv could not be fetched, or is not the file that it should be. Check the network or the proxy, HTTPS_PROXY, and
echo start again: what has arrived is kept. Or set TRELLIS_UV to the path of a uv.exe %UV_VERSION%.
exit /b 1
:unpack_uv
"%SYSTEM32%\tar.exe" -xf "%PART%" -C "%STATE%\uv"
move /y "%STATE%\uv\uv-%UV_VERSION%.data\scripts\uv.exe" "%STATE%\uv\uv.exe" >nul 2>nul
if not exist "%STATE%\uv\uv.exe" (
    echo uv could not be unpacked. Set TRELLIS_UV to the path of a uv.exe %UV_VERSION%.
    exit /b 1
)
del "%PART%" >nul 2>nul
set "UV=%STATE%\uv\uv.exe"
exit /b 0

:try_uv
if defined UV exit /b 0
if not exist "%~1" exit /b 0
"%~1" --version 2>nul | "%SYSTEM32%\findstr.exe" /c:"uv %UV_VERSION%" >nul
if "%ERRORLEVEL%"=="0" set "UV=%~1"
exit /b 0

:check_uv
if not exist "%PART%" exit /b 1
"%SYSTEM32%\certutil.exe" -hashfile "%PART%" SHA256 2>nul | "%SYSTEM32%\findstr.exe" /i /c:"%UV_SHA256%" >nul
exit /b %ERRORLEVEL%

rem An environment whose Python does not start (it was moved, or its Python has gone) gets a new one, and keeps its packages; so
rem does one of a 32-bit build, for which there is no torch.
:make_environment
if exist "%PY%" "%PY%" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12) or sys.maxsize < 2**32)" 2>nul && exit /b 0
"%UV%" venv --quiet --relocatable --allow-existing "%VENV%"
if "%ERRORLEVEL%"=="0" exit /b 0
echo Python 3.11 or 3.12 is needed, was not found and could not be fetched. Check the network or the proxy, HTTPS_PROXY,
echo and start again; or install the 64-bit Python 3.12 from python.org; or set UV_PYTHON to the path of a python.exe.
exit /b 1

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

:failed
if not defined HOLD exit /b 1
echo.
pause
exit /b 1
