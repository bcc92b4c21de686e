"""The double of a cloud's provider: a real gRPC server that the real engine talks to."""

import contextlib
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2
from pulumi.runtime.proto import provider_pb2 as proto
from pulumi.runtime.proto.provider_pb2_grpc import (
    ResourceProviderServicer,
    add_ResourceProviderServicer_to_server,
)

from engine import aws, gcp, schema, wire
from engine.cloud import Cloud, Lost, Refused, Thing

VERSION = "99.0.0"
"""Newer than any SDK's: an older provider than the SDK makes the engine warn."""


RULES = {"aws": aws, "gcp": gcp}
"""What each cloud knows and refuses, by the name of the provider."""


def kind_of(token: str) -> str:
    """'ec2.Vpc' of 'aws:ec2/vpc:Vpc'."""
    _, module, name = token.split(":")
    return f"{module.split('/')[0]}.{name}"


def _token(urn: str) -> str:
    return urn.split("::")[2].rsplit("$", maxsplit=1)[-1]


class Provider(ResourceProviderServicer):  # type: ignore[misc]
    """Answers as a cloud's provider does, over a cloud in memory."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.rules = RULES[cloud.package]

    def Handshake(self, request: Any, _: Any) -> Any:
        return proto.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True)

    def Attach(self, request: Any, _: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, _: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def Cancel(self, request: Any, _: Any) -> Any:
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, _: Any) -> Any:
        return proto.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, _: Any) -> Any:
        changed = wire.read(request.old_inputs) != wire.read(request.news)
        return proto.DiffResponse(
            changes=proto.DiffResponse.DIFF_SOME if changed else proto.DiffResponse.DIFF_NONE
        )

    def Configure(self, request: Any, context: Any) -> Any:
        self.cloud.connect(context.peer())
        settings = wire.plain(wire.read(request.args))
        if self.cloud.package == "gcp":
            if settings.get("project") != self.cloud.account:
                context.abort(grpc.StatusCode.UNKNOWN, f"no project {settings.get('project')}")
            return proto.ConfigureResponse(
                acceptSecrets=True, acceptResources=True, supportsPreview=True
            )
        if self.cloud.account not in str(settings.get("allowedAccountIds", self.cloud.account)):
            context.abort(
                grpc.StatusCode.UNKNOWN, f"AWS account ID not allowed: {self.cloud.account}"
            )
        if settings.get("region") != self.cloud.region:
            context.abort(grpc.StatusCode.UNKNOWN, f"invalid AWS Region: {settings.get('region')}")
        return proto.ConfigureResponse(
            acceptSecrets=True, acceptResources=True, supportsPreview=True
        )

    def Check(self, request: Any, _: Any) -> Any:
        token = _token(request.urn)
        news = wire.read(request.news)
        kind = self.rules.KINDS.get(kind_of(token))
        if kind is None:
            return _failed([("", f"the double knows no {token}")])
        if kind.autoname and kind.autoname not in news:
            old = wire.read(request.olds).get(kind.autoname)
            made = f"{request.urn.split('::')[-1]}-{self.cloud.number():07x}"
            news[kind.autoname] = old or made
        inputs = wire.plain(news)
        problems = list(schema.problems(token, inputs))
        # What has the wrong shape cannot be looked into.
        problems = problems or list(self.rules.checks(kind_of(token), inputs))
        return _failed(problems) if problems else proto.CheckResponse(inputs=wire.write(news))

    def Diff(self, request: Any, _: Any) -> Any:
        kind = self.rules.KINDS[kind_of(_token(request.urn))]
        old, new = wire.plain(wire.read(request.old_inputs)), wire.plain(wire.read(request.news))
        ignored = set(request.ignoreChanges)
        changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        changed = [name for name in changed if name not in ignored]
        replaces = [name for name in changed if name in kind.replaces]
        return proto.DiffResponse(
            changes=proto.DiffResponse.DIFF_SOME if changed else proto.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=replaces,
            # Two of one name cannot be there at the same time.
            deleteBeforeReplace=bool(replaces and kind.unique and kind.unique not in replaces),
        )

    def Create(self, request: Any, context: Any) -> Any:
        name = kind_of(_token(request.urn))
        sent = wire.read(request.properties)
        inputs = wire.plain(sent)
        if request.preview:
            unknown = dict.fromkeys(schema.outputs(_token(request.urn)) - sent.keys(), wire.UNKNOWN)
            return proto.CreateResponse(properties=wire.write({**unknown, **sent}))
        with self._asked("create", name, context):
            thing = self._create(name, inputs)
            try:
                self.cloud.tell("create", thing)
            except Refused:
                with self.cloud.lock:
                    del self.cloud.things[name, thing.id]
                raise
        return proto.CreateResponse(id=thing.id, properties=wire.write({**_told(thing), **sent}))

    def _create(self, name: str, inputs: dict[str, Any]) -> Thing:
        kind, cloud = self.rules.KINDS[name], self.cloud
        with cloud.lock:
            for place, needed in kind.needs:
                self._must_exist(needed, inputs.get(place, []))
            if kind.unique:
                taken = [t for t in cloud.of(name) if _same(t, inputs, kind.unique)]
                if taken:
                    raise Refused(f"AlreadyExists: {name} {inputs[kind.unique]} already exists")
            kind.refuse_create(cloud, inputs)
            id_ = kind.make_id(cloud, inputs)
            if (name, id_) in cloud.things and kind.blocks:
                raise Refused(f"AlreadyExists: {name} {id_} already exists")
            thing = Thing(name, id_, inputs, kind.computed(cloud, id_, inputs))
            cloud.things[name, id_] = thing
            return thing

    def _must_exist(self, kind: str, named: Any) -> None:
        for id_ in named if isinstance(named, list) else [named]:
            # Of another account, or AWS's own, when it is an ARN that is not of a role here.
            there = (kind, id_) in self.cloud.things or any(
                thing.computed.get("arn") == id_ for thing in self.cloud.of(kind)
            )
            if not there:
                raise Refused(f"NotFound: the {kind} '{id_}' does not exist")

    def Update(self, request: Any, context: Any) -> Any:
        name = kind_of(_token(request.urn))
        sent = wire.read(request.news)
        if request.preview:
            return proto.UpdateResponse(properties=wire.write({**wire.read(request.olds), **sent}))
        with self._asked("update", name, context):
            thing = self.cloud.things.get((name, request.id))
            if thing is None:
                raise Refused(f"NotFound: the {name} '{request.id}' does not exist")
            thing.inputs = wire.plain(sent)
            self.cloud.tell("update", thing)
        return proto.UpdateResponse(properties=wire.write({**_told(thing), **sent}))

    def Read(self, request: Any, context: Any) -> Any:
        name = kind_of(_token(request.urn))
        with self._asked("read", name, context):
            # A database is found by its name too: aws_db_instance imports by 'identifier'.
            called = (t for t in self.cloud.of(name) if t.inputs.get("identifier") == request.id)
            thing = self.cloud.things.get((name, request.id)) or next(called, None)
        if thing is None:
            return proto.ReadResponse(id="")
        before = wire.read(request.inputs)
        # What came as a secret stays one.
        inputs = {
            key: before[key] if wire.plain(before.get(key)) == value else value
            for key, value in thing.inputs.items()
        }
        return proto.ReadResponse(
            id=thing.id,
            properties=wire.write({**_told(thing), **inputs}),
            inputs=wire.write(inputs),
        )

    def Delete(self, request: Any, context: Any) -> Any:
        name = kind_of(_token(request.urn))
        with self._asked("delete", name, context):
            thing = self.cloud.things.get((name, request.id))
            if thing is None:
                return empty_pb2.Empty()
            with self.cloud.lock:
                self._refuse_delete(thing)
            self.cloud.tell("delete", thing)
            with self.cloud.lock:
                self.cloud.things.pop((name, request.id), None)
        return empty_pb2.Empty()

    def _refuse_delete(self, thing: Thing) -> None:
        self.rules.KINDS[thing.kind].refuse_delete(self.cloud, thing.id, thing.inputs)
        ids = {thing.id, thing.computed.get("arn", thing.id)}
        for user in (
            u for i in ids for u in self.cloud.users_of(i, self.rules.dependents(thing.kind))
        ):
            raise Refused(
                f"DependencyViolation: {thing.kind} '{thing.id}' is in use by {user.kind}"
            )

    def Invoke(self, request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the double has no function {request.tok}")

    @contextlib.contextmanager
    def _asked(self, action: Any, kind: str, context: Any) -> Iterator[None]:
        """Note what was asked, let happen what is to go wrong, and tell what was refused."""
        try:
            trouble = self.cloud.next_trouble(action, kind, context.peer())
            if action != "read":
                self.cloud.calls.append((action, kind))
            if trouble and trouble.before:
                trouble.before()
            yield
            if trouble and trouble.after:
                trouble.after()
        except Refused as refused:
            context.abort(grpc.StatusCode.UNKNOWN, str(refused))
        except Lost as lost:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(lost))


def _told(thing: Thing) -> dict[str, Any]:
    return {
        **thing.inputs,
        **thing.computed,
        **({"tagsAll": thing.inputs["tags"]} if "tags" in thing.inputs else {}),
    }


def _same(thing: Thing, inputs: dict[str, Any], name: str) -> bool:
    """Whether it has the same name in the same network, where names count in a network."""
    keys = (name, "vpcId")
    return all(thing.inputs.get(key) == inputs.get(key) for key in keys)


def _failed(problems: list[schema.Problem]) -> Any:
    return proto.CheckResponse(
        failures=[proto.CheckFailure(property=name, reason=why) for name, why in problems]
    )


@contextlib.contextmanager
def served(cloud: Cloud) -> Iterator[int]:
    """The port of loopback at which a cloud's provider answers."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    add_ResourceProviderServicer_to_server(Provider(cloud), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(grace=None).wait()
