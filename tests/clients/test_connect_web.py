"""What a web page does with Connect's gRPC-Web client: the program of the README, as it is printed there."""

import pathlib
import shutil
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]


def block(language):
    """The block of the README about web pages that is in this language."""
    section = (REPOSITORY / "README.md").read_text().split("## From a web page\n")[1].split("\n## ")[0]
    (text,) = section.split(f"```{language}\n")[1:]
    return text.split("```")[0]


def run(folder, command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def project():
    """A folder with the packages that the README names, at versions that were tried, and the generated contracts."""
    folder = REPOSITORY / "target/clients/web"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "tests/clients/package.json", folder)
    run(folder, ["npm", "install", "--no-audit", "--no-fund"])
    (generate,) = [line for line in block("console").splitlines() if "buf generate" in line]
    generate = generate.removeprefix("$ ").replace("path/to/errand", str(REPOSITORY))
    run(folder, ["bash", "-c", generate])
    return folder


def test_the_readme_installs_what_was_tried(project):
    for package in ["@connectrpc/connect", "@connectrpc/connect-web", "@bufbuild/protobuf", "@bufbuild/buf", "@bufbuild/protoc-gen-es"]:
        assert package in block("console")
        assert (project / "node_modules" / package).is_dir()


def test_the_program_of_the_readme_chats_and_lists(server, project):
    program = project / "readme.js"
    program.write_text(block("js").replace("localhost:8080", server.address))
    response, *titles = run(project, ["node", program.name]).splitlines()
    assert response
    assert [title.lower() for title in titles] == ["call mum"]
