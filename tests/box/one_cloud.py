"""Tests of what is the machine's own, and the same in every cloud, run in one of them."""

import pytest

on_aws = pytest.mark.parametrize("deployed", ["aws"], indirect=True)
on_gcp = pytest.mark.parametrize("deployed", ["gcp"], indirect=True)
