"""Patterns that the root includes by the name of their module."""

from django.urls import path
from django_urls import answer

urlpatterns = [path("", answer), path("<int:id>/", answer), path("<str:name>/", answer)]
