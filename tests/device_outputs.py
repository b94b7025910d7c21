"""What LiteRT's benchmark_model prints, in the wordings of its versions; numbers made up."""

CURRENT = """\
{sha}  model.tflite
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [50]
INFO: Num threads: [4]
INFO: Min warmup runs: [5]
INFO: Graph: [model.tflite]
INFO: Signature to run: []
INFO: #threads used for CPU inference: [4]
INFO: Loaded model model.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 3.80412
INFO: Initialized session in 41.503ms.
INFO: Running benchmark for at least 5 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=23 first=24115 curr=21480 min=20951 max=24115 avg=21802.4 std=702 p5=21010 median=21644 p95=22980

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=61 first=21502 curr=21466 min=20880 max=26210 avg=21611.9 std=811 p5=20990 median=21402 p95=22871

INFO: Inference timings in us: Init: 41503, First inference: 24115, Warmup (avg): 21802.4, Inference (avg): 21611.9
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual \
memory footprint of the model at runtime. Take the information at your discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=12.5 overall=18.25
"""

BEFORE_PERCENTILES = """\
{sha}  /data/local/tmp/model.tflite\r
STARTING!\r
Num threads: [1]\r
Graph: [/data/local/tmp/model.tflite]\r
#threads used for CPU inference: [1]\r
Loaded model /data/local/tmp/model.tflite\r
The input model file size (MB): 3.80412\r
Initialized session in 0.847ms.\r
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.\r
count=1 curr=1037079\r
\r
Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.\r
count=50 first=977738 curr=964908 min=911877 max=1112273 avg=1.05032e+06 std=39112\r
\r
Inference timings in us: Init: 847, First inference: 1037079, Warmup (avg): 1.03708e+06, \
Inference (avg): 1.05032e+06\r
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory \
footprint of the model at runtime. Take the information at your discretion.\r
Peak memory footprint (MB): init=1.26562 overall=26.6641\r
"""

GPU_FROM_LOGCAT = """\
{sha}  model.tflite
07-14 13:23:08.100 25289 25289 I tflite  : Num threads: [2]
07-14 13:23:08.101 25289 25289 I tflite  : Use gpu: [1]
07-14 13:23:08.229 25289 25289 I tflite  : Explicitly applied GPU delegate, and the model graph will be partially \
executed by the delegate w/ 19 delegate kernels.
07-14 13:23:08.229 25289 25289 I tflite  : Initialized session in 95.112ms.
07-14 13:23:08.980 25289 25289 I tflite  : count=3 first=23781 curr=23685 min=23685 max=24219 avg=23895 std=232 \
p5=23685 median=23781 p95=24219
07-14 13:23:15.443 25289 25289 I tflite  : count=50 first=24318 curr=22714 min=22093 max=32627 avg=25713 std=2708 \
p5=22608 median=25276 p95=30340
07-14 13:23:15.443 25289 25289 I tflite  : Inference timings in us: Init: 95112, First inference: 23781, \
Warmup (avg): 23895, Inference (avg): 25713
07-14 13:23:15.443 25289 25289 I tflite  : Memory footprint delta from the start of the tool (MB): init=65.4141 \
overall=90.25
"""

REFUSED_BY_THE_DELEGATE = CURRENT.replace(
    "INFO: The input model file size",
    "WARNING: Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
    "INFO: The input model file size",
)

NO_SUCH_FILE = """\
{sha}  model.tflite
INFO: STARTING!
INFO: Num threads: [4]
INFO: Graph: [model.tflit]
ERROR: Could not open 'model.tflit'.
ERROR: Failed to mmap model model.tflit
ERROR: Benchmarking failed.
"""
