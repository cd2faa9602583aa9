"""What a wheel has beside the package: studies and published numbers, which lie at the top of the tree.

There, within `harness`, they are in nobody's way; `harness.paths.shipped` finds them in either place.
"""

from setuptools import find_namespace_packages, setup

BESIDE = {"harness.shipped.experiments": "experiments", "harness.shipped.reports.published": "reports/published"}

PACKAGES = find_namespace_packages(include=["harness", "harness.*"], exclude=["*.__pycache__"])

setup(packages=[*PACKAGES, *BESIDE], package_dir=BESIDE)
