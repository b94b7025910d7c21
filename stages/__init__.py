"""The commands: one module per DVC stage, each thin; what they compute lives in `stages.core`."""

import sys

if sys.argv[:1] == ["-m"]:
    # `python -m stages.<command>` is on its way to the command's imports, which can take seconds: until they are done,
    # Ctrl-C would print a traceback of them. Whoever imports this package from elsewhere keeps their own handlers.
    from stages.core.base.stopping import end_on_signals, name_command

    end_on_signals(name_command(sys.orig_argv[len(sys.orig_argv) - len(sys.argv)], sys.argv))
