"""Makes an environment of a cloud's account known to this computer."""

from trackstack import names
from trackstack.environment import Environment
from trackstack.errors import MissingError, TrackstackError, UsageError
from trackstack.operations.places import locate
from trackstack.place import Place

CLOUDS = ("aws", "gcp")


def attach(
    name: str, target: str | None, region: str | None = None, profile: str | None = None
) -> Environment:
    """Find an environment in the account that the credentials lead to, and remember where it is.

    Args:
        name: of the environment.
        target: 'aws' or 'gcp'; each is tried when None.
        region: where to look; the tools' own region when None.
        profile: an AWS profile.

    Raises:
        UsageError: it is not there; the nearest name is suggested. Or the name is taken here.
        TrackstackError: no account could be asked.
    """
    here = Environment(name)
    if here.place is None and here.exists:
        raise UsageError(
            f"Environment {name!r} is {here.target.where} already, and in no cloud.",
            "Nothing has to be attached to use it; another one needs another name.",
        )
    found: list[str] = []
    problems: list[TrackstackError] = []
    looked: list[Place] = []
    for cloud in [target] if target else CLOUDS:
        try:
            place = locate(cloud, region, profile)
            environment = Environment(name, place)
            if environment.record() is not None:
                environment.keep_place(place)
                return environment
            found += environment.cloud.names()
            looked.append(place)
        except (MissingError, UsageError, TrackstackError) as error:
            problems.append(error)
    if not looked:
        raise problems[0]
    near = names.nearest(name, found)
    there = f"There are: {', '.join(found)}." if found else "There is none at all."
    raise UsageError(
        f"There is no environment {name!r} in {' nor '.join(each.told for each in looked)}.",
        f"Did you mean {near!r}?" if near else f"{there} Say `--region` for another region.",
    )


def names_in_account(
    target: str, region: str | None, profile: str | None
) -> tuple[Place, list[str]]:
    """The environments that an account holds the record of, whether or not known here."""
    place = locate(target, region, profile)
    return place, Environment("any", place).cloud.names()
