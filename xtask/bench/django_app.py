"""The smallest Django app, as WSGI and as ASGI: what it answers costs it least, so that the probe weighs most."""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    LOGGING_CONFIG=None,
    MIDDLEWARE=[],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for the bench",
)


def hello(request):
    return JsonResponse({"hello": "world"})


urlpatterns = [path("", hello)]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
