"""xe: XenServer's command line, as a client of any XenAPI server.

Read in this order: `grammar` (what a command line says), `fields` with `fields_network` and `fields_machine`
(which fields each class of `xe` shows, in which order, and where they come from), `records` (fetching them with few
calls), `filters` (field=value, vm=, host=), `output` (the layout), `generic` (the -list and -param-* commands),
`catalog` and `sends` (the other commands, most of them one line of a table), `networks`, `vms`, `pools`, `users`, `events` (those that
need more than a line), `errors` (how refusals read), `help`, `complete`, `progress`, and `main`, which joins them.

Every command is sent to the server and decided there; nothing here knows what the server can do.
"""
