"""What pyproject.toml cannot say: the files beside the package that a wheel must hold, in kubedrill/shipped."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# pyproject.toml has the settings of pytest, which runs the drills.
SHIPPED = ("images", "scenarios", "tasks.py", "Vagrantfile", "pyproject.toml")


class WithShipped(build_py):
    """Modules, their data, and what lies beside the package in a checkout."""

    def run(self) -> None:
        """Build as ever, then copy; a checkout that is only linked needs no copy."""
        super().run()
        if getattr(self, "editable_mode", False):
            return
        target = Path(self.build_lib) / "kubedrill" / "shipped"
        shutil.rmtree(target, ignore_errors=True)  # build/ is kept between builds: what was deleted must not be shipped
        target.mkdir(parents=True)
        for name in SHIPPED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            elif source.exists():
                shutil.copy2(source, target / name)


setup(cmdclass={"build_py": WithShipped})
