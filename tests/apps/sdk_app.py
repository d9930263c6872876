"""The end to end apps with a tracing SDK in their process: SDK, framework, port."""

import os
import sys

SETTINGS = {
    "opentelemetry": {
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    },
    # Nobody takes what it sends.
    "ddtrace": {
        "DD_TRACE_AGENT_URL": "unix:///nonexistent/agent.socket",
        "DD_TRACE_PROPAGATION_STYLE": "datadog",
        "DD_TRACE_STARTUP_LOGS": "false",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    },
    "sentry": {},
    "skywalking": {
        "SW_AGENT_COLLECTOR_BACKEND_SERVICES": "127.0.0.1:1",
        "SW_AGENT_NAME": "traced",
        "SW_AGENT_LOGGING_LEVEL": "CRITICAL",
    },
}
LAUNCHERS = {"opentelemetry": ["opentelemetry-instrument"], "ddtrace": ["ddtrace-run"]}


def serve(sdk, framework, port):
    folder = os.path.dirname(sys.executable)
    module = f"{framework}_app" if sdk in LAUNCHERS else "sdk_app"
    servers = {
        "flask": ["gunicorn", "--no-control-socket", "--bind", f"127.0.0.1:{port}"],
        "fastapi": ["uvicorn", "--no-access-log", "--timeout-keep-alive", "60", "--port", port],
    }
    command = [*LAUNCHERS.get(sdk, []), *servers[framework], f"{module}:app"]
    environment = {**os.environ, **SETTINGS[sdk], "PATH": f"{folder}:{os.environ['PATH']}", "SDK": sdk, "SDK_APP": framework}
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    serve(*sys.argv[1:])
else:
    if os.environ["SDK"] == "sentry":
        import sentry_sdk

        sentry_sdk.init(dsn="http://key@127.0.0.1:1/1", traces_sample_rate=1.0)
    else:
        from skywalking import agent

        agent.start()
    if os.environ["SDK_APP"] == "flask":
        from flask_app import app
    else:
        from fastapi_app import app
