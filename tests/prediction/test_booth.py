"""The widget that takes a photograph, without a browser; `test_browser` drops one into the app."""

import numpy as np
import pytest
import skimage.data

pytest.importorskip("ipywidgets", reason="shows the booth")

from hmrlib.prediction.booth import FITTED, NETWORK, PHOTOGRAPH, Booth


@pytest.fixture(scope="module")
def booth():
    return Booth(skimage.data.astronaut())


def test_the_explorer_stands_as_the_person_does(booth):
    (person,) = booth.people
    np.testing.assert_allclose(booth.explorer.pose, person.upright_pose(), atol=1e-5)
    np.testing.assert_allclose(booth.explorer.betas, person.betas[:10], atol=1e-5)


def test_network_fit_and_photograph_can_be_compared(booth):
    pictures = {}
    for title in (NETWORK, PHOTOGRAPH, FITTED):
        booth.choice.value = title
        pictures[title] = bytes(booth.picture.value)
    assert len(set(pictures.values())) == 3
    booth.choice.value = NETWORK
    (alone,) = booth.people.network()
    np.testing.assert_allclose(booth.explorer.pose, alone.upright_pose(), atol=1e-5)
    booth.choice.value = FITTED


def test_what_is_no_photograph_is_said_in_a_line(booth):
    before = booth.people
    booth.take("words.jpg", b"no picture")
    assert "not an image of a kind that is read" in booth.message.value
    assert booth.people is before
