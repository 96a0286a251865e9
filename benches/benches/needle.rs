//! How fast do needles become bytes, and bytes verified needles?
//!
//! Measured, in memory: the header alone; a whole record encoded, which is meta, checksums,
//! header and one copy into a buffer that is used again; a whole record decoded, with its
//! header, trailer, data and meta checked. Bytes per second count the data only.
//!
//! The volume's own code for whole records is private to the store. What is timed here takes
//! the same steps in the same order by the public functions of `format`; it leaves out only
//! the check that padding is zero.
//!
//! Not measured: any file, and memory that the processor's caches do not hold. `volume_read`
//! has both.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hayrick_benches::{needle, record, rng, settings};
use hayrick_store::format::checksum::{Trailer, trailer_bytes};
use hayrick_store::format::needle::{HEADER_BYTES, Kind, NeedleHeader};
use hayrick_store::format::{FormatError, NeedleOffset, Salt};
use hayrick_store::{Meta, NewNeedle};
use rand::RngCore as _;

const SIZES: [(&str, usize); 3] = [("1KiB", 1 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20)];

/// Where the record stands; any place will do.
const OFFSET: NeedleOffset = NeedleOffset::from_blocks(512);

fn salt() -> Salt {
    Salt::new(&[7; 16], 1)
}

fn sample(size: usize) -> NewNeedle {
    let mut data = vec![0; size];
    rng().fill_bytes(&mut data);
    needle(1, Bytes::from(data))
}

fn encode(needle: &NewNeedle, salt: Salt, out: &mut Vec<u8>) {
    out.clear();
    record::encode(Kind::Data, needle, salt, OFFSET, out);
}

fn decode(record: &[u8], salt: Salt) -> Result<(NeedleHeader, Meta), FormatError> {
    let short = || FormatError::Short { what: "needle" };
    let header = NeedleHeader::from_bytes(record, salt, OFFSET)?;
    let (_, rest) = record.split_at_checked(HEADER_BYTES).ok_or_else(short)?;
    let (data, rest) = rest.split_at_checked(header.data_size as usize).ok_or_else(short)?;
    let (meta, rest) = rest.split_at_checked(header.meta_size as usize).ok_or_else(short)?;
    let trailer_len = usize::try_from(trailer_bytes(header.data_size)).map_err(|_| short())?;
    let trailer = rest.get(..trailer_len).ok_or_else(short)?;
    let trailer = Trailer::from_bytes(trailer, header.data_size, header.body_crc)?;
    trailer.verify_blocks(0, data)?;
    trailer.verify_meta(meta)?;
    Ok((header, Meta::from_bytes(meta)?))
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("needle_header");
    let trailer = Trailer::of(&[], &[]);
    let header = record::header(Kind::Data, &sample(1024), &[], &trailer, OFFSET);
    let bytes = header.to_bytes(salt(), OFFSET);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| black_box(&header).to_bytes(salt(), OFFSET));
    });
    group.bench_function("decode", |bencher| {
        let decode = || NeedleHeader::from_bytes(black_box(&bytes), salt(), OFFSET);
        assert!(decode().is_ok());
        bencher.iter(decode);
    });
    group.finish();
}

fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("needle_record");
    for (name, size) in SIZES {
        let needle = sample(size);
        let (salt, mut record) = (salt(), Vec::new());
        encode(&needle, salt, &mut record);
        assert_eq!(decode(&record, salt).map(|(_, meta)| meta).as_ref(), Ok(&needle.meta));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("decode", name), |bencher| {
            bencher.iter(|| decode(black_box(&record), salt));
        });
        group.bench_function(BenchmarkId::new("encode", name), |bencher| {
            bencher.iter(|| encode(black_box(&needle), salt, &mut record));
        });
    }
    group.finish();
}

criterion_group!(name = benches; config = settings(); targets = headers, records);
criterion_main!(benches);
