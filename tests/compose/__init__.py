"""A Docker Engine of the tests' own. Not `docker`, which is how a package of moto's is called."""
