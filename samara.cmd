@echo off
rem Runs samara from this checkout; the first run sets up .venv.
if exist "%~dp0.venv\Scripts\python.exe" ("%~dp0.venv\Scripts\python.exe" -I "%~dp0scripts\bootstrap.py" run -P -m samara %*) else (py -3 -I "%~dp0scripts\bootstrap.py" run -P -m samara %*)
