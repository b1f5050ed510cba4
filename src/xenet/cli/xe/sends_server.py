"""More rows of `sends`: commands on users, alerts, tasks and events, and on the server itself."""

from xenet.cli.xe.command import Arg, Command

_USERS = (
    Command(
        "subject-add",
        "Add a user, with the password that new= says; without a role the user cannot log in.",
        (Arg("subject-name"), Arg("new", default="")),
        run="users.subject_add",
    ),
    Command(
        "subject-remove", "Take a user away; the user's sessions may do nothing any more.", (Arg("subject-uuid", "ref subject"),), "subject.destroy"
    ),
    Command("subject-list", "List the users beside root, with their roles.", (), run="users.subject_list"),
    Command("subject-role-add", "Give a user a role.", (Arg("uuid", "ref subject"), Arg("role-name")), run="users.role_add"),
    Command("subject-role-remove", "Take a role from a user.", (Arg("uuid", "ref subject"), Arg("role-name")), run="users.role_remove"),
    Command("subject-set-password", "Set a user's password.", (Arg("uuid", "ref subject"), Arg("new")), "subject.set_password"),
    Command("role-list", "List the roles that users can have.", (), run="users.role_list"),
)

_OTHERS = (
    Command(
        "diagnostic-unimplemented-calls",
        "Show the messages that clients asked for in vain since the server's start, the most wanted first.",
        (),
        run="pools.unimplemented_calls",
    ),
    Command(
        "message-create",
        "Raise an alert about a VM, a host or the pool.",
        (Arg("name"), Arg("priority", "int"), Arg("body"), *(Arg(f"{one}-uuid", default="") for one in ("vm", "host", "sr", "pool"))),
        run="pools.message_create",
    ),
    Command(
        "message-destroy",
        "Take alerts away: all that uuids= names, or none.",
        (Arg("uuid", default=""), Arg("uuids", default="")),
        run="pools.message_destroy",
    ),
    Command("task-cancel", "Cancel a task.", (Arg("uuid", "ref task"),), "task.cancel"),
    Command(
        "event-wait",
        "Wait until an object of a class has these values.",
        (Arg("class", "class"),),
        run="events.event_wait",
        rest="<field>=<value> <field>=/=<value>",
    ),
    Command(
        "user-password-change", "Change the password of the user that is logged in.", (Arg("old", default=""), Arg("new")), "session.change_password"
    ),
    Command("session-subject-identifier-list", "List the users of external sessions.", (), "session.get_all_subject_identifiers", "text"),
    Command(
        "session-subject-identifier-logout",
        "Log a user out.",
        (Arg("subject-identifier"),),
        "session.logout_subject_identifier",
    ),
    Command("session-subject-identifier-logout-all", "Log all users of external sessions out.", (), run="pools.logout_all"),
    Command("help", "Show this help, all commands (--all), or one.", (), run="help", rest="<command>"),
)

COMMANDS = (*_USERS, *_OTHERS)
