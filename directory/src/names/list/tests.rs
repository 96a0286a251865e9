use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use proptest::prelude::*;

use super::*;
use crate::names::Row;

/// Names in memory that count how many entries were looked at.
#[derive(Default)]
struct Model {
    names: BTreeMap<Vec<u8>, Vec<u8>>,
    looked_at: Cell<usize>,
}

impl Scan for Model {
    type Entry = Vec<u8>;
    type Value = Vec<u8>;

    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), NamesError>> {
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        self.names.range::<[u8], _>((Bound::Included(from), end)).map(|(name, value)| {
            self.looked_at.set(self.looked_at.get() + 1);
            Ok((name.clone(), value.clone()))
        })
    }
}

fn model<'a>(names: impl IntoIterator<Item = &'a str>) -> Model {
    let entry = |name: &str| {
        let row = Row { content_type: name.into(), ..Row::default() };
        (name.as_bytes().to_vec(), row::encode(&row).unwrap())
    };
    Model { names: names.into_iter().map(entry).collect(), ..Model::default() }
}

fn query(prefix: &str, delimiter: Option<&str>, limit: usize) -> ListQuery {
    let delimiter = delimiter.map(str::to_owned);
    ListQuery { prefix: prefix.to_owned(), delimiter, cursor: None, limit }
}

/// All pages of a listing, as the entries they told of and the longest page.
fn walk(names: &Model, mut query: ListQuery) -> (Vec<String>, Vec<String>, usize) {
    let (mut objects, mut prefixes, mut longest) = (Vec::new(), Vec::new(), 0);
    loop {
        let page = list(names, &query).unwrap();
        longest = longest.max(page.objects.len() + page.prefixes.len());
        for (name, row) in page.objects {
            assert_eq!(name.as_str(), &*row.content_type, "a row of another name");
            objects.push(name.to_string());
        }
        prefixes.extend(page.prefixes);
        match page.cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return (objects, prefixes, longest),
        }
    }
}

/// What a listing must tell of, the slow way.
fn expected(names: &BTreeSet<String>, query: &ListQuery) -> (Vec<String>, Vec<String>) {
    let (mut objects, mut prefixes) = (Vec::new(), BTreeSet::new());
    for name in names.iter().filter(|name| name.starts_with(&query.prefix)) {
        let rest = &name[query.prefix.len()..];
        match query.delimiter.as_ref().and_then(|d| rest.find(d.as_str()).map(|at| at + d.len())) {
            Some(end) => {
                prefixes.insert(format!("{}{}", query.prefix, &rest[..end]));
            }
            None => objects.push(name.clone()),
        }
    }
    (objects, prefixes.into_iter().collect())
}

#[test]
fn names_and_common_prefixes_share_the_limit() {
    let names = model(["a", "b/1", "b/2", "c", "d/1"]);
    let page = list(&names, &query("", Some("/"), 3)).unwrap();
    let objects: Vec<_> = page.objects.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((objects, page.prefixes), (vec!["a", "c"], vec!["b/".to_owned()]));
    let rest = ListQuery { cursor: page.cursor, ..query("", Some("/"), 3) };
    let page = list(&names, &rest).unwrap();
    assert_eq!((page.objects.len(), page.prefixes, page.cursor), (0, vec!["d/".to_owned()], None));
}

#[test]
fn a_page_that_ends_with_the_names_has_no_cursor() {
    let names = model(["a", "b"]);
    assert_eq!(list(&names, &query("", None, 2)).unwrap().cursor, None);
    assert_eq!(list(&model([]), &query("", None, 2)).unwrap(), ListPage::default());
}

#[test]
fn a_common_prefix_is_sought_past_not_scanned() {
    let all: Vec<_> = (0..10_000).map(|i| format!("many/{i:05}")).collect();
    let names = model(all.iter().map(String::as_str).chain(["zebra"]));
    let page = list(&names, &query("", Some("/"), 10)).unwrap();
    assert_eq!((page.objects.len(), page.prefixes.len()), (1, 1));
    assert!(names.looked_at.get() < 5, "{} entries looked at", names.looked_at.get());
}

#[test]
fn names_that_come_and_go_do_not_disturb_the_others() {
    let mut names = model(["a", "b", "c", "d", "e"]);
    let first = list(&names, &query("", None, 2)).unwrap();
    names.names.remove("b".as_bytes());
    names.names.append(&mut model(["aa", "bb"]).names);
    let rest = ListQuery { cursor: first.cursor, ..query("", None, 10) };
    let (objects, ..) = walk(&names, rest);
    assert_eq!(objects, ["bb", "c", "d", "e"]);
}

#[test]
fn a_page_of_huge_rows_ends_early() {
    let row = Row { content_type: "x".repeat(1 << 19).into(), ..Row::default() };
    let value = row::encode(&row).unwrap();
    let names = (0..100).map(|i| (format!("{i:03}").into_bytes(), value.clone())).collect();
    let page = list(&Model { names, ..Model::default() }, &query("", None, 100)).unwrap();
    assert!(page.objects.len() < 12 && page.cursor.is_some(), "{}", page.objects.len());
}

#[test]
fn bad_queries_are_refused() {
    for bad in [
        query("", None, 0),
        query("", None, 1_001),
        query("", Some(""), 1),
        ListQuery { cursor: Some("!".to_owned()), ..query("", None, 1) },
    ] {
        assert!(matches!(list(&model(["a"]), &bad), Err(NamesError::BadQuery(_))), "{bad:?}");
    }
}

#[test]
fn a_cursor_of_another_query_is_harmless() {
    let names = model(["a/1", "b/1", "b/2", "c/1"]);
    let first = list(&names, &query("b/", None, 1)).unwrap();
    let elsewhere = |prefix| ListQuery { cursor: first.cursor.clone(), ..query(prefix, None, 9) };
    assert_eq!(walk(&names, elsewhere("a/")).0, [""; 0]);
    assert_eq!(walk(&names, elsewhere("c/")).0, ["c/1"]);
}

#[test]
fn a_name_that_is_not_text_is_told_as_damage() {
    let mut names = model(["a"]);
    names.names.insert(vec![0xC0], Vec::new());
    assert!(matches!(list(&names, &query("", None, 9)), Err(NamesError::Corrupt(_))));
}

proptest! {
    #[test]
    fn pages_add_up_to_what_the_model_lists(
        names in proptest::collection::btree_set("[ab/é\u{0}\u{10FFFF}]{1,6}", 0..60),
        prefix in "[ab/é]{0,3}",
        delimiter in proptest::option::of("[ab/é\u{10FFFF}]{1,2}"),
        limit in 1_usize..12,
    ) {
        let query = query(&prefix, delimiter.as_deref(), limit);
        let (objects, prefixes) = expected(&names, &query);
        let walked = walk(&model(names.iter().map(String::as_str)), query);
        prop_assert_eq!((walked.0, walked.1), (objects, prefixes));
        prop_assert!(walked.2 <= limit);
    }
}
