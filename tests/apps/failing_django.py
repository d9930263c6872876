"""Failures in Django. WSGI: `app`, ASGI: `asgi`."""

import asyncio

import django
from django.conf import settings
from failures import fail

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="test", DEBUG=False)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


def view(request, case):
    return HttpResponse(fail(case), status=503 if case == "explicit" else 200)


async def async_view(request, case):
    await asyncio.sleep(0)
    return HttpResponse(fail(case), status=503 if case == "explicit" else 200)


urlpatterns = [path("fail/<case>", view), path("async/<case>", async_view)]
app = get_wsgi_application()
asgi = get_asgi_application()
