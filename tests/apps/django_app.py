"""The routes of the end to end tests in Django, settings and all in one file. WSGI: `app`."""

import time
import urllib.error
import urllib.request

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    LOGGING_CONFIG=None,
    MIDDLEWARE=[],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for tests",
)


def fast(request):
    return HttpResponse("ok")


def slow(request):
    time.sleep(int(request.GET.get("ms", 100)) / 1000)
    return HttpResponse("slow")


def item(request, item):
    return JsonResponse({"item": item})


def order(request, user, order):
    return JsonResponse({"user": str(user), "order": order})


def boom(request):
    raise RuntimeError("boom")


def stream(request):
    chunks = int(request.GET.get("chunks", 3))
    size = int(request.GET.get("size", 10))
    pause = int(request.GET.get("ms", 0)) / 1000

    def pieces():
        for _ in range(chunks):
            time.sleep(pause)
            yield b"x" * size

    return StreamingHttpResponse(pieces(), content_type="text/plain")


def big(request):
    body = b"x" * int(request.GET.get("bytes", 100_000))
    return HttpResponse(body, content_type="text/plain", headers={"Content-Length": str(len(body))})


def echo(request):
    return HttpResponse(str(len(request.body)))


def call(request):
    try:
        with urllib.request.urlopen(request.GET["url"], timeout=10) as answer:
            return JsonResponse({"status": answer.status, "length": len(answer.read())})
    except urllib.error.HTTPError as error:
        return JsonResponse({"status": error.code, "length": len(error.read())})


def headers(request):
    return JsonResponse({name.lower(): value for name, value in request.headers.items()})


def nocontent(request):
    return HttpResponse(status=204)


def close(request):
    # Django sets no hop-by-hop header: the server frames this as it likes.
    return StreamingHttpResponse(iter([b"a", b"b"]), content_type="text/plain")


def hang(request):
    time.sleep(600)
    return HttpResponse("late")


urlpatterns = [
    path("", fast),
    path("fast", fast),
    path("slow", slow),
    path("items/<int:item>", item),
    path("users/<uuid:user>/orders/<int:order>", order),
    path("boom", boom),
    path("stream", stream),
    path("big", big),
    path("echo", echo),
    path("call", call),
    path("headers", headers),
    path("nocontent", nocontent),
    path("close", close),
    path("hang", hang),
]

app = get_wsgi_application()
