"""Python imports this module at its start, in each program that the tests start."""

import os

if os.environ.get("OTT_TEST_TOKENS"):
    import sys
    from importlib.machinery import PathFinder

    import token_record

    # The module of the package, the class in it, and what watches the class.
    WATCHED = {
        "ott_middleware.tokens.service": ("OneTimeTokens", token_record.watch_tokens),
        "ott_middleware.flow": ("Flow", token_record.watch_flow),
        "ott_middleware.flow.page_first": ("PageFirst", token_record.watch_page_first),
        "ott_middleware.interfaces.asgi": ("ASGIMiddleware", token_record.watch_asgi),
        "ott_middleware.interfaces.wsgi": ("WSGIMiddleware", token_record.watch_wsgi),
    }

    class Finder:
        """Watches the classes when their modules are imported."""

        @staticmethod
        def find_spec(name, path=None, target=None):
            if name not in WATCHED:
                return None
            spec = PathFinder.find_spec(name, path, target)
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                class_name, watch = WATCHED[name]
                watch(getattr(module, class_name))

            spec.loader.exec_module = exec_module
            return spec

    sys.meta_path.insert(0, Finder)
