import subprocess
import sys


def test_help_is_light():
    code = "import sys; from harness.landscape.__main__ import parser; parser().format_help()"
    code += "; print({'torch', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
