"""The root of the Django project's patterns."""

from django.http import HttpResponse
from django.urls import include, path, re_path


def answer(request, **values):
    return HttpResponse(repr(values))


def tell(get_response):
    def middleware(request):
        response = get_response(request)
        match = request.resolver_match
        response["X-Route"] = match.route if match else ""
        return response

    return middleware


urlpatterns = [
    path("", answer),
    path("users/", include("django_users")),
    path("users/<int:id>/late", answer),
    path("shop/<slug:shop>/", include(([path("items/<int:item>", answer), path("", answer)], "shop"))),
    path("orders/<uuid:order>", answer),
    re_path(r"^old/(?P<page>\d+)/$", answer),
    path("old/new", answer),
    path("files/<path:file>", answer),
]
