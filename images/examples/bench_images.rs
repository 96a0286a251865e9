//! Hayrick as a contestant of `make bench-images`: reads what to make from standard
//! input, line by line, and answers each with the CPU time that one picture took.
//! The protocol is told in `benches/images/bench.py`.
#![expect(clippy::print_stdout, reason = "the answers go to the harness by standard output")]

use std::error::Error;
use std::{fs, io};

use hayrick_images::{Scratch, Settings, Suffix, transform};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn Error>> {
    println!("Hayrick {}", env!("CARGO_PKG_VERSION"));
    let mut scratch = Scratch::default();
    for line in io::stdin().lines() {
        println!("{}", answer(&line?, &mut scratch)?);
    }
    Ok(())
}

/// CPU milliseconds for one picture.
fn answer(line: &str, scratch: &mut Scratch) -> Result<f64, Box<dyn Error>> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [source, _, format, width, height, quality, times, out] = fields[..] else {
        return Err(format!("eight fields expected: {line}").into());
    };
    let source = fs::read(source)?;
    let suffix = Suffix::parse(&format!("{width}w_{height}h_2e_{quality}q.{format}"))?;
    let times: u32 = times.parse()?;
    let mut file = Vec::new();
    let began = clock_gettime(ClockId::ProcessCPUTime);
    for _ in 0..times {
        file = transform(&source, &suffix, &Settings::default(), scratch, &|| true)?.bytes;
    }
    let spent = clock_gettime(ClockId::ProcessCPUTime) - began;
    fs::write(out, file)?;
    Ok((f64::from(u32::try_from(spent.tv_sec)?) * 1e3
        + f64::from(u32::try_from(spent.tv_nsec)?) / 1e6)
        / f64::from(times))
}
