"""What is said of a task queue that could not be counted."""

from azure.core.exceptions import ResourceNotFoundError

from workforce_operator.adapters.depth_errors import depth_error
from workforce_operator.domain.errors import Missing


def test_a_queue_that_does_not_exist_is_told_with_who_makes_it():
    gone = ResourceNotFoundError("The specified queue does not exist.\nRequestId:1")
    error = depth_error(gone, "acct/tasks", made_by="the first push makes it")
    assert isinstance(error, Missing)
    assert str(error) == "read queue acct/tasks: The specified queue does not exist; the first push makes it"
