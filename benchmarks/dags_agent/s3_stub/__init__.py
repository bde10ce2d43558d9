"""An S3 for clients that are measured or tried: in memory, one process, fast, and as nasty as it is told.

moto answers 150 to 200 requests a second, which measures moto. This answers some ten thousand, counts them,
delays them, and plays scripts of faults per bucket. It is no S3: what clients here do not use is not there.
"""
