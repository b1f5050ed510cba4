"""A contract type for import-linter, used by the contracts in pyproject.toml.

import-linter's own `forbidden` contract fails when it names a module that does not exist. The map of the rooms is fixed
before every room is built, so this one leaves out the rooms that are still missing and checks all the others. A room that
nobody put on the map is found by the `layers` contract, which is exhaustive.
"""

from collections.abc import Iterable
from typing import Any

from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.domain.contract import ContractCheck


class ForbiddenIfPresent(ForbiddenContract):
    """`forbidden`, for those of its own package's modules that exist."""

    type_name = "forbidden_if_present"

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        roots = tuple(f"{name}." for name in self.session_options["root_packages"])

        def present(modules: Iterable[Any]) -> set[Any]:
            return {module for module in modules if str(module) in graph.modules or not str(module).startswith(roots)}

        self.source_modules = present(self.source_modules)
        self.forbidden_modules = present(self.forbidden_modules)
        return super().check(graph, verbose)
