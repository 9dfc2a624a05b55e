"""A node in a process of its own, for tests: takes a JSON object as its argument, prints one JSON object a line.

    {"seed": 1, "listen": [...], "bootstrap": [...], "mdns": true, "dht": "server", "provide": ["content-label"],
     "find": ["content-label"]}

Prints `{"event": "listening" | "nearby" | "reachable" | "provided" | "found", …}`, and runs until it is killed.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

from samara.node.network.opening import NetworkConfig, OpenNetwork, open_network
from samara.protocol.errors import NetworkError
from samara.protocol.routing import routing_key

EXCHANGE = "/samara/exchange/1"


def tell(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def key_of(label: str) -> bytes:
    return routing_key("content", label.encode().ljust(32, b"\0"))


async def tell_nearby(network: OpenNetwork) -> None:
    async for found in network.host.found_nearby():
        tell("nearby", peer=found.peer, addresses=found.addresses)


async def tell_reachable(network: OpenNetwork) -> None:
    while not network.host.reachability().reachable:  # noqa: ASYNC110 - a test may poll
        await trio.sleep(0.05)
    tell("reachable", addresses=network.host.reachability().reachable)


async def provide(network: OpenNetwork, labels: list[str]) -> None:
    if network.announcer is None:
        return
    network.announcer.set_keys(key_of(label) for label in labels)
    while len(network.announcer.announced) < len(labels):  # noqa: ASYNC110 - a test may poll
        await trio.sleep(0.05)
    tell("provided", labels=labels)


async def find(network: OpenNetwork, label: str) -> None:
    while network.routing is not None:
        try:
            providers = await network.routing.find_providers(key_of(label))
        except NetworkError:
            providers = []
        if providers:
            tell("found", label=label, providers=[[found.peer, list(found.addresses)] for found in providers])
            return
        await trio.sleep(0.3)


async def main(said: dict[str, Any]) -> None:
    config = NetworkConfig(
        seed=bytes([said["seed"]]) * 32,
        listen=tuple(said.get("listen", ["/ip4/0.0.0.0/tcp/0"])),
        bootstrap=tuple(said.get("bootstrap", ())),
        dht=said.get("dht", "server"),
        mdns=said.get("mdns", False),
        agent="samara/test",
    )

    async def echo(stream: Any) -> None:
        while data := await stream.receive_some(65536):
            await stream.send_all(data)

    async with open_network(config) as network, trio.open_nursery() as nursery:
        network.host.serve(EXCHANGE, echo)
        tell("listening", peer=network.host.peer, addresses=network.host.listening())
        nursery.start_soon(tell_nearby, network)
        nursery.start_soon(tell_reachable, network)
        if said.get("provide"):
            nursery.start_soon(provide, network, said["provide"])
        for label in said.get("find", ()):
            nursery.start_soon(find, network, label)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
