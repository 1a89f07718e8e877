"""Functions and their calls, under the name that programs written for Modal import them by."""

from inrush.client.call import FunctionCall as FunctionCall
from inrush.client.function import Function as Function
