@echo off
rem Start the program; creates or repairs its Python environment first. Works from any folder; paths that you pass
rem are relative to the folder you are in.
setlocal EnableExtensions DisableDelayedExpansion

set "ROOT=%~dp0"
if "%ROOT:~-1%"=="\" set "ROOT=%ROOT:~0,-1%"
set "VENV=%ROOT%\.venv"
set "PY=%VENV%\Scripts\python.exe"

set "COMMAND=%~1"
if "%COMMAND%"=="" set "COMMAND=ui"

rem everything after the first argument, as it was typed
set "REST="
for /f "tokens=1,*" %%a in ("%*") do set "REST=%%b"

set "PYTHONPATH=%ROOT%"
set "PYTHONUTF8=1"
if not defined OMP_WAIT_POLICY set "OMP_WAIT_POLICY=PASSIVE"

if /i "%COMMAND%"=="ui" goto ui
if /i "%COMMAND%"=="generate" goto module
if /i "%COMMAND%"=="models" goto module
if /i "%COMMAND%"=="serve" goto serve
if /i "%COMMAND%"=="train" goto train
if /i "%COMMAND%"=="test" goto test
if /i "%COMMAND%"=="setup" goto setup
if /i "%COMMAND%"=="exec" goto exec
if /i "%COMMAND%"=="help" goto help
echo run.bat: unknown command "%COMMAND%"
call :usage
exit /b 2

:ui
call :ensure main || goto failed
"%PY%" "%ROOT%\gradio_main.py" %REST%
if errorlevel 1 goto failed
exit /b 0

:serve
call :ensure main || goto failed
"%PY%" "%ROOT%\gradio_main.py" --no-browser %REST%
exit /b %ERRORLEVEL%

:module
call :ensure main || goto failed
"%PY%" -P -m trellis %COMMAND% %REST%
exit /b %ERRORLEVEL%

:train
call :ensure main || goto failed
"%PY%" "%ROOT%\train.py" %REST%
exit /b %ERRORLEVEL%

:test
call :ensure dev || goto failed
"%PY%" -P -m installer test %REST%
exit /b %ERRORLEVEL%

:setup
call :find_python || goto failed
%BASE% -P -m installer install %REST%
exit /b %ERRORLEVEL%

:exec
call :ensure main || goto failed
set "VIRTUAL_ENV=%VENV%"
set "PATH=%VENV%\Scripts;%PATH%"
%REST%
exit /b %ERRORLEVEL%

:help
call :usage
exit /b 0

:ensure
if not exist "%PY%" goto install
"%PY%" -P -S -m installer check --group %1 2>nul
if not errorlevel 1 exit /b 0
:install
call :find_python || exit /b 1
%BASE% -P -m installer install --group %1
exit /b %ERRORLEVEL%

:find_python
set "BASE="
if defined TRELLIS_PYTHON call :try "%TRELLIS_PYTHON%"
if not defined BASE call :try py -3.11
if not defined BASE call :try py -3.12
if not defined BASE call :try python
if defined BASE exit /b 0
echo Python 3.11 or 3.12 (64 bit) is needed and was not found. Install it from python.org and start again,
echo or set TRELLIS_PYTHON to the path of python.exe.
exit /b 1

:try
%* -c "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))" >nul 2>nul
if errorlevel 1 exit /b 0
set "BASE=%*"
exit /b 0

:usage
echo usage: run.bat [COMMAND] [ARGUMENTS...]
echo.
echo   ui         the page in the browser (default)
echo   generate   pictures to 3D assets:  run.bat generate PICTURE... --output DIR
echo   models     which models are here and which can be fetched
echo   serve      page and API without opening a browser
echo   train      train the embedded model
echo   test       lint, types and tests (with arguments: only pytest, with them)
echo   setup      install or repair only:  run.bat setup [--dry-run] [--repair] [--yes]
echo   exec       any command inside the environment:  run.bat exec python script.py
exit /b 0

:failed
echo.
echo It did not work. The message above says why; the log of the installation is in "%ROOT%\.state\install.log".
pause
exit /b 1
