"""Servers for the battery: each test gets its own, and every one is looked over at its end."""

import os

import pytest
from client import Client
from process import Server

FULL = os.environ.get("ERRAND_BATTERY") == "full"


def rounds(quick, full):
    """`ERRAND_BATTERY=full` runs the size that the battery names."""
    return full if FULL else quick


@pytest.fixture
def make_server(tmp_path):
    """Makes servers, not started yet; Server says what they take."""
    made = []

    def make(**settings):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Server(folder, **settings))
        return made[-1]

    yield make
    for server in made:
        if server.process is not None:
            server.kill()
            server.look_over()


@pytest.fixture
def client_of():
    """Makes clients, closed at the end."""
    made = []

    def make(server, **settings):
        made.append(Client(server, **settings))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def server(make_server):
    """A server with the limits that it has by itself; a module that wants another has its own."""
    return make_server().start()


@pytest.fixture
def ann(server, client_of):
    """Somebody who has signed up there."""
    ann = client_of(server)
    ann.sign_up()
    return ann
