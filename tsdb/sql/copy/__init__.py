"""COPY: ``statement`` and ``options`` read it; ``cut`` cuts the input to fields by kernels, ``values`` and
``binary_values`` read columns of them, ``tags`` tag sets, ``input`` makes points; ``output`` is the query to copy.
"""
