"""key agent and use-agent from outside: real processes, a real ssh-agent, and a node that somebody else started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agents import RealAgent, hostile_agent, needs_agent, real_agent
from support.cli import Cli, Done

from samara.protocol.dsse import SigningKey

SEED = b"\x21" * 32
MINE = SigningKey(SEED)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the agents of these tests are on Unix sockets")


@pytest.fixture
def agent() -> Iterator[RealAgent]:
    with real_agent() as running:
        running.make("ed25519", "samara")
        running.make("ecdsa", "of another kind")
        yield running


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home", (("SSH_AUTH_SOCK", ""),))


def fails(done: Done, error: str, code: int = 1) -> dict[str, Any]:
    assert (done.code, done.json["error"]) == (code, error), done
    return done.json


@needs_agent
def test_a_key_is_found_named_and_used(cli: Cli, agent: RealAgent, tmp_path: Path) -> None:
    knows = cli.having(SSH_AUTH_SOCK=agent.socket)
    listed = knows.json("key", "agent")
    assert listed["socket"] == agent.socket
    (mine,) = [row for row in listed["keys"] if row["comment"] == "samara"]
    assert mine.keys() == {"key", "comment", "fingerprint", "kind", "usable", "present"}
    assert (mine["usable"], mine["present"]) == (True, False)
    shown = knows.run("key", "agent").out
    assert "only ssh-ed25519 keys can sign records" in shown
    assert mine["fingerprint"] in shown
    fails(knows.run("key", "use-agent", "nobody", "--json"), "AgentKeyError")
    assert "ecdsa" in fails(knows.run("key", "use-agent", "of another kind", "--json"), "UsageError", 2)["message"]
    assert not (cli.home / "publisher.key").exists()
    said = knows.run("key", "use-agent", "samara")
    assert said.code == 0, said
    assert "back it up there" in said.out
    key = cli.json("key", "show")
    assert (key["key"], key["where"], key["root"], key["protected"]) == (mine["key"], "agent", 1, False)
    assert "in an agent" in cli.run("key", "show").out
    assert [row["present"] for row in knows.json("key", "agent")["keys"]] == [True, False]
    (tmp_path / "w.bin").write_bytes(b"w")
    publish = ("publish", str(tmp_path / "w.bin"), "--license", "MIT", "--json")
    assert "SSH_AUTH_SOCK is not set" in fails(cli.run(*publish), "AgentAwayError")["message"]
    made = knows.run(*publish).ok()
    assert cli.json("verify", made["release"])["signers"][0]["key"] == mine["key"]
    assert "its seed is not here" in fails(knows.run("key", "backup", "--json"), "OperationError")["message"]
    rotated = knows.json("key", "rotate")
    assert (rotated["version"], rotated["complete"], rotated["heads"]) == (2, True, 1)
    assert cli.json("key", "show")["where"] == "file"
    again = knows.json("key", "use-agent", mine["fingerprint"])
    assert (again["version"], again["complete"], again["publisher"]) == (3, True, key["publisher"])


@needs_agent
@pytest.mark.slow
def test_a_node_of_another_session_asks_the_agent_of_the_command_beside_it(
    cli: Cli, agent: RealAgent, tmp_path: Path
) -> None:
    knows = cli.having(SSH_AUTH_SOCK=agent.socket)
    knows.json("key", "use-agent", "samara")
    files = [tmp_path / f"{number}.bin" for number in range(3)]
    for number, path in enumerate(files):
        path.write_bytes(b"%d" % number)
    with cli.running("node"):
        publish = ("publish", "--license", "MIT", "--json")
        told = fails(cli.run(*publish, str(files[0])), "AgentAwayError")
        assert "background" in told["hint"]
        assert knows.run(*publish, str(files[0])).ok()["new"] is True
        # It remembers where the agent was, as long as it runs; and says so when nobody answers there.
        assert cli.run(*publish, str(files[1])).ok()["new"] is True
        gone = cli.having(SSH_AUTH_SOCK=str(tmp_path / "gone"))
        assert str(tmp_path / "gone") in fails(gone.run(*publish, str(files[2])), "AgentAwayError")["message"]
        assert knows.json("attest", "me/0.bin", "--claim", "reviewed")["position"] == 3


@needs_agent
def test_text_of_an_agent_steers_no_terminal(cli: Cli) -> None:
    with real_agent() as agent:
        agent.make("ed25519", "a\x1b[2Jb")
        shown = cli.having(SSH_AUTH_SOCK=agent.socket).run("key", "agent").out
    assert "\x1b" not in shown


def test_no_agent_and_a_wrong_one(cli: Cli, tmp_path: Path) -> None:
    assert "not set" in fails(cli.run("key", "agent", "--json"), "AgentAwayError")["message"]
    (tmp_path / "file").write_bytes(b"")
    no_socket = cli.having(SSH_AUTH_SOCK=str(tmp_path / "file"))
    fails(no_socket.run("key", "agent", "--json"), "AgentAwayError")
    with hostile_agent(lambda kind, body: b"HTTP/1.1 200 OK\r\n\r\n") as wrong:
        fails(cli.having(SSH_AUTH_SOCK=wrong.socket).run("key", "agent", "--json"), "AgentAnswerError")
    assert not (cli.home / "publisher.key").exists()
