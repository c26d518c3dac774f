"""What tests share: real servers and waiting for conditions."""

import pytest

pytest.register_assert_rewrite("tests.support.cluster_suite")
