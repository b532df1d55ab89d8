"""`python -m gateway.cli`: the same as the command `a2a-gateway`."""

from gateway.cli.main import main

if __name__ == "__main__":
    main()
