//! oximg as a contestant; the protocol is told in `bench.py`.

use std::io::{BufRead, Write};
use std::{fs, io};

use oximg::pipeline::{self, ImageFormat, Params};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    println!("oximg 0.18.1");
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [source, _, format, width, height, quality, times, out] = fields[..] else { return };
        let params = Params {
            max_width: width.parse().unwrap(),
            max_height: height.parse().unwrap(),
            quality: quality.parse().unwrap(),
            webp_quality: Some(quality.parse().unwrap()),
            output: Some(if format == "webp" { ImageFormat::Webp } else { ImageFormat::Jpeg }),
            ..Params::default()
        };
        let source = fs::read(source).unwrap();
        let times: u32 = times.parse().unwrap();
        let began = cpu_seconds();
        let mut bytes = Vec::new();
        for _ in 0..times {
            bytes = pipeline::process(&source, &params).unwrap().0;
        }
        let ms = (cpu_seconds() - began) * 1e3 / f64::from(times);
        fs::write(out, bytes).unwrap();
        println!("{ms}");
        io::stdout().flush().unwrap();
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
