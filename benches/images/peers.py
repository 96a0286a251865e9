"""libvips and OpenCV as contestants; the protocol is told in `bench.py`."""

import sys
import time


def vips():
    import pyvips

    version = ".".join(str(pyvips.version(part)) for part in range(3))

    def make(source, source_width, format, width, height, quality):
        small = pyvips.Image.thumbnail_buffer(source, width, height=height, size="force")
        return small.write_to_buffer(f".{format}", Q=quality, keep="none")

    return f"libvips {version} (pyvips {pyvips.__version__})", make


def opencv(reduced):
    import cv2
    import numpy

    cv2.setNumThreads(1)
    scales = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }

    def make(source, source_width, format, width, height, quality):
        # The smallest that is no smaller than what is wanted.
        scale = max((by for by in scales if source_width // by >= width), default=1)
        how = scales[scale if reduced else 1]
        pixels = cv2.imdecode(numpy.frombuffer(source, numpy.uint8), how)
        small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        option = cv2.IMWRITE_WEBP_QUALITY if format == "webp" else cv2.IMWRITE_JPEG_QUALITY
        return cv2.imencode(f".{format}", small, [option, quality])[1].tobytes()

    return f"OpenCV {cv2.__version__}" + (", reduced decode" if reduced else ", full decode"), make


def main():
    name, make = {
        "vips": vips,
        "opencv": lambda: opencv(False),
        "opencv-reduced": lambda: opencv(True),
    }[sys.argv[1]]()
    print(name, flush=True)
    for line in sys.stdin:
        path, source_width, format, width, height, quality, times, out = line.rstrip("\n").split("\t")
        with open(path, "rb") as file:
            source = file.read()
        wanted = int(source_width), format, int(width), int(height), int(quality)
        began = time.process_time()
        for _ in range(int(times)):
            picture = make(source, *wanted)
        spent = time.process_time() - began
        with open(out, "wb") as file:
            file.write(picture)
        print(spent * 1000 / int(times), flush=True)


main()
