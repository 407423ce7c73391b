# The Makefile's main entries for PowerShell: .\make.ps1 demo, .\make.ps1 test (also setup, check, docs, app).
$python = if ($env:PYTHON) { @($env:PYTHON) } elseif (Get-Command py -ErrorAction SilentlyContinue) { @("py", "-3") } else { @("python") }
$program = $python[0]
$first = @($python | Select-Object -Skip 1)
& $program @first (Join-Path $PSScriptRoot "tools/make.py") @args
exit $LASTEXITCODE
