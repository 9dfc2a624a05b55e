@echo off
rem Formats, lints, types and tests this checkout; the first run sets up .venv.
if exist "%~dp0.venv\Scripts\python.exe" ("%~dp0.venv\Scripts\python.exe" -I "%~dp0scripts\bootstrap.py" dev "%~dp0scripts\check.py" %*) else (py -3 -I "%~dp0scripts\bootstrap.py" dev "%~dp0scripts\check.py" %*)
