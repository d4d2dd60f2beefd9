"""Two admin sites, as a project may have; a shop's own page; and one that has every fault a browser
can tell."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.browser import shop_tasks

FAULTY = """<!DOCTYPE html><html><head><title>faulty</title></head><body>
<p onclick="0" style="color: #ccc; background: #fff">hardly to be read</p>
<img src="/no-such-image.png"><input>
<div style="width: 3000px">wide</div>
<a href="/" class="unseen">x</a>
<script>document.title = "ran in line"</script>
<script src="/faulty.js"></script>
</body></html>"""


def faulty(request: HttpRequest) -> HttpResponse:
    return HttpResponse(FAULTY)


def faulty_script(request: HttpRequest) -> HttpResponse:
    script = """console.error("said"); for (const one of document.styleSheets) one.disabled = true;
    const wide = document.createElement("div"); wide.style.width = "3000px";
    wide.textContent = "wide"; document.body.append(wide);
    document.querySelector("a").style.cssText = "outline: none; color: inherit";
    throw new Error("thrown");"""
    return HttpResponse(script, content_type="text/javascript")


def order(request: HttpRequest, number: int) -> HttpResponse:
    """What a shop does all day: the answer is the id of the record."""
    return HttpResponse(str(shop_tasks.take_order.enqueue(number).id))


class Console(admin.AdminSite):
    """A site of a project's own, under another name, with the same pages."""

    site_header = "The shop's console"


console = Console(name="console")
for _model, _admin in admin.site._registry.items():
    console.register(_model, type(_admin))

urlpatterns = [
    path("admin/", admin.site.urls),
    path("console/", console.urls),
    path(
        "favicon.ico", lambda request: HttpResponse(status=204)
    ),  # a browser asks for it, unbidden
    path("shop/order/<int:number>/", order, name="order"),
    path("faulty/", faulty),
    path("faulty.js", faulty_script),
]
