"""A Django project whose answers say which pattern was matched. Its port is the last argument."""

import sys

from django.conf import settings

settings.configure(ROOT_URLCONF="django_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="k", MIDDLEWARE=["django_urls.tell"])

if __name__ == "__main__":
    from wsgiref.simple_server import make_server

    from django.core.wsgi import get_wsgi_application
    from wsgi_server import Handler, Server

    make_server("127.0.0.1", int(sys.argv[1]), get_wsgi_application(), Server, Handler).serve_forever()
