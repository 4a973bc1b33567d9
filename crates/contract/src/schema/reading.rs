//! From a schema's text to what is checked, with the place of whatever cannot work.
//!
//! Subschemas are read one after the other and not within each other, so that references may lead anywhere in the
//! document and a long chain of them takes no stack.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::keyword::{Keyword, Place, Subschema};
use super::{InvalidSchema, MAX_SCHEMA_BYTES};
use crate::json::{Members, Node, pointer_below};

mod values;

use values::{count, limit, list_of_names, multiple_of, of_values, pattern, required, types, whole};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
const MAX_SUBSCHEMAS: usize = 2_000;
const MAX_PATTERNS: usize = 32;
/// They say something to people and to programs that draw forms, and nothing to a check. `format` is one of them in
/// this draft.
const ANNOTATIONS: [&str; 12] = [
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
];

pub(super) type ReadResult<T> = Result<T, InvalidSchema>;

pub(super) fn refused<T>(pointer: &str, detail: impl ToString) -> ReadResult<T> {
    Err(InvalidSchema { pointer: pointer.to_owned(), detail: detail.to_string() })
}

pub(super) fn below(pointer: &str, name: &[u8]) -> String {
    pointer_below(pointer, &String::from_utf8_lossy(name))
}

pub(super) fn read(text: &str) -> ReadResult<Vec<Subschema>> {
    if text.len() > MAX_SCHEMA_BYTES {
        return refused("", format!("must be at most {MAX_SCHEMA_BYTES} bytes long"));
    }
    let root = Node::parse(text).or_else(|error| refused("", error))?;
    let mut reading = Reading {
        root: &root,
        known: HashMap::new(),
        waiting: VecDeque::new(),
        subschemas: Vec::new(),
        pointers: Vec::new(),
        patterns: 0,
    };
    reading.place_of(&root, String::new())?;
    while let Some((place, node)) = reading.waiting.pop_front() {
        let pointer = reading.pointers[place.0].clone();
        reading.subschemas[place.0] = reading.subschema(node, &pointer)?;
    }
    reading.refuse_circles()?;
    Ok(reading.subschemas)
}

struct Reading<'a> {
    root: &'a Node<'a>,
    /// By their pointers.
    known: HashMap<String, Place>,
    /// Known, and not yet read.
    waiting: VecDeque<(Place, &'a Node<'a>)>,
    subschemas: Vec<Subschema>,
    pointers: Vec<String>,
    patterns: usize,
}

impl<'a> Reading<'a> {
    /// The subschema that stands there; it is read later.
    fn place_of(&mut self, node: &'a Node<'a>, pointer: String) -> ReadResult<Place> {
        if let Some(place) = self.known.get(&pointer) {
            return Ok(*place);
        }
        if !matches!(node, Node::Bool(_) | Node::Object(_)) {
            return refused(&pointer, "must be a schema: an object, true or false");
        }
        if self.subschemas.len() >= MAX_SUBSCHEMAS {
            return refused(
                &pointer,
                format!("is one more than the {MAX_SUBSCHEMAS} schemas that one may hold"),
            );
        }
        let place = Place(self.subschemas.len());
        self.subschemas.push(Subschema::new());
        self.pointers.push(pointer.clone());
        self.known.insert(pointer, place);
        self.waiting.push_back((place, node));
        Ok(place)
    }

    fn places_of(&mut self, node: &'a Node<'a>, pointer: &str) -> ReadResult<Vec<Place>> {
        let Node::Array(nodes) = node else { return refused(pointer, "must be a list of schemas") };
        if nodes.is_empty() {
            return refused(pointer, "must be a list of one schema or more");
        }
        let place = |(index, node)| self.place_of(node, format!("{pointer}/{index}"));
        nodes.iter().enumerate().map(place).collect()
    }

    fn named_places(&mut self, node: &'a Node<'a>, pointer: &str) -> ReadResult<Vec<(Vec<u8>, Place)>> {
        let Node::Object(members) = node else { return refused(pointer, "must be an object of schemas") };
        refuse_duplicates(members, pointer)?;
        let place = |(name, node): (&[u8], &'a Node<'a>)| -> ReadResult<_> {
            Ok((name.to_vec(), self.place_of(node, below(pointer, name))?))
        };
        members.iter().map(place).collect()
    }

    fn subschema(&mut self, node: &'a Node<'a>, pointer: &str) -> ReadResult<Subschema> {
        let members = match node {
            Node::Bool(true) => return Ok(Subschema::new()),
            Node::Object(members) => members,
            Node::Bool(false) | Node::Null | Node::Number(_) | Node::String(_) | Node::Array(_) => {
                return Ok(vec![Keyword::Never]);
            }
        };
        refuse_duplicates(members, pointer)?;
        let mut keywords = Subschema::new();
        for (name, value) in members.iter() {
            let place = below(pointer, name);
            let name = std::str::from_utf8(name).unwrap_or_default();
            keywords.extend(self.keyword(name, value, members, &place, pointer)?);
        }
        keywords.extend(self.members(members, pointer)?);
        keywords.extend(self.items(members, pointer)?);
        Ok(keywords)
    }

    /// What one keyword asks for by itself; `place` is its own, `pointer` that of its schema.
    fn keyword(
        &mut self,
        name: &str,
        value: &'a Node<'a>,
        beside: &'a Members<'a>,
        place: &str,
        pointer: &str,
    ) -> ReadResult<Option<Keyword>> {
        let keyword = match name {
            "$schema" | "$id" => return self.identity(name, value, place, pointer),
            "$defs" | "definitions" => return self.named_places(value, place).map(|_| None),
            "$ref" => Keyword::Reference(self.target(value, place)?),
            "allOf" => Keyword::AllOf(self.places_of(value, place)?),
            "anyOf" => Keyword::AnyOf(self.places_of(value, place)?),
            "oneOf" => Keyword::OneOf(self.places_of(value, place)?),
            "not" => Keyword::Not(self.place_of(value, place.to_owned())?),
            "if" => self.condition(value, beside, place, pointer)?,
            "then" | "else" if beside.last_named(b"if").is_none() => {
                return refused(place, "is of no use without if");
            }
            "dependentSchemas" => Keyword::DependentSchemas(self.named_places(value, place)?),
            "propertyNames" => Keyword::MemberNames(self.place_of(value, place.to_owned())?),
            "minContains" | "maxContains" if beside.last_named(b"contains").is_none() => {
                return refused(place, "is of no use without contains");
            }
            // Read together, with what stands beside them.
            "then"
            | "else"
            | "minContains"
            | "maxContains"
            | "contains"
            | "prefixItems"
            | "items"
            | "properties"
            | "patternProperties"
            | "additionalProperties" => return Ok(None),
            "type" => types(value, place)?,
            "enum" | "const" => of_values(name, value, place)?,
            "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum" => limit(name, value, place)?,
            "multipleOf" => multiple_of(value, place)?,
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                count(name, value, place)?
            }
            "pattern" => {
                self.count_pattern(place)?;
                Keyword::Pattern(pattern(value, place)?)
            }
            "uniqueItems" => match value {
                Node::Bool(true) => Keyword::UniqueItems,
                Node::Bool(false) => return Ok(None),
                Node::Null | Node::Number(_) | Node::String(_) | Node::Array(_) | Node::Object(_) => {
                    return refused(place, "must be true or false");
                }
            },
            "required" => required(value, place)?,
            "dependentRequired" => Keyword::DependentRequired(list_of_names(value, place)?),
            _ if ANNOTATIONS.contains(&name) => return Ok(None),
            _ => return refused(place, "is not a keyword that is checked here"),
        };
        Ok(Some(keyword))
    }

    fn identity(
        &self,
        name: &str,
        value: &Node<'_>,
        place: &str,
        pointer: &str,
    ) -> ReadResult<Option<Keyword>> {
        if !pointer.is_empty() {
            return refused(place, "may only stand at the top: what is within belongs to the same schema");
        }
        let Node::String(text) = value else { return refused(place, "must be a string") };
        if name == "$schema" && text.strip_suffix(b"#").unwrap_or(text) != DRAFT.as_bytes() {
            return refused(place, format!("must be {DRAFT}, the draft that is understood here"));
        }
        Ok(None)
    }

    /// Where a reference leads: to a place in this document.
    fn target(&mut self, value: &Node<'_>, place: &str) -> ReadResult<Place> {
        let text = match value {
            Node::String(text) => String::from_utf8_lossy(text).into_owned(),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_) => {
                return refused(place, "must be a string");
            }
        };
        let Some(pointer) = text.strip_prefix('#') else {
            return refused(
                place,
                "must lead to a place in this schema, for instance #/$defs/money: nothing is fetched",
            );
        };
        if !(pointer.is_empty() || pointer.starts_with('/')) || pointer.contains('%') {
            return refused(place, "must be # or a JSON pointer after it, for instance #/$defs/money");
        }
        let steps = pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
        let mut node = self.root;
        for step in steps {
            let next = match node {
                Node::Object(members) => members.last_named(step.as_bytes()),
                Node::Array(nodes) => step.parse::<usize>().ok().and_then(|index| nodes.get(index)),
                Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) => None,
            };
            let Some(next) = next else { return refused(place, format!("leads nowhere: {text}")) };
            node = next;
        }
        self.place_of(node, pointer.to_owned())
    }

    fn condition(
        &mut self,
        value: &'a Node<'a>,
        beside: &'a Members<'a>,
        place: &str,
        pointer: &str,
    ) -> ReadResult<Keyword> {
        let condition = self.place_of(value, place.to_owned())?;
        let then = self.optional(beside, "then", pointer)?;
        let otherwise = self.optional(beside, "else", pointer)?;
        Ok(Keyword::If { condition, then, otherwise })
    }

    fn optional(&mut self, beside: &'a Members<'a>, name: &str, pointer: &str) -> ReadResult<Option<Place>> {
        let node = beside.last_named(name.as_bytes());
        node.map(|node| self.place_of(node, format!("{pointer}/{name}"))).transpose()
    }

    fn members(&mut self, beside: &'a Members<'a>, pointer: &str) -> ReadResult<Option<Keyword>> {
        let (named, matching) = (beside.last_named(b"properties"), beside.last_named(b"patternProperties"));
        let named = match named {
            Some(node) => self.named_places(node, &format!("{pointer}/properties"))?,
            None => Vec::new(),
        };
        let matching = match matching {
            Some(node) => self.named_places(node, &format!("{pointer}/patternProperties"))?,
            None => Vec::new(),
        };
        let rest = self.optional(beside, "additionalProperties", pointer)?;
        if named.is_empty() && matching.is_empty() && rest.is_none() {
            return Ok(None);
        }
        let mut patterns = Vec::with_capacity(matching.len());
        for (written, place) in matching {
            let at = below(&format!("{pointer}/patternProperties"), &written);
            self.count_pattern(&at)?;
            patterns.push((values::text_pattern(&written, &at)?, place));
        }
        Ok(Some(Keyword::Members { named: BTreeMap::from_iter(named), matching: patterns, rest }))
    }

    fn items(&mut self, beside: &'a Members<'a>, pointer: &str) -> ReadResult<Vec<Keyword>> {
        let mut keywords = Vec::new();
        let first = match beside.last_named(b"prefixItems") {
            Some(node) => self.places_of(node, &format!("{pointer}/prefixItems"))?,
            None => Vec::new(),
        };
        if let Some(Node::Array(_)) = beside.last_named(b"items") {
            return refused(&format!("{pointer}/items"), "must be one schema; a list of them is prefixItems");
        }
        let rest = self.optional(beside, "items", pointer)?;
        if !first.is_empty() || rest.is_some() {
            keywords.push(Keyword::Items { first, rest });
        }
        if let Some(item) = self.optional(beside, "contains", pointer)? {
            let number = |name: &str, otherwise| match beside.last_named(name.as_bytes()) {
                Some(node) => whole(node, &format!("{pointer}/{name}")),
                None => Ok(otherwise),
            };
            let (least, most) = (number("minContains", 1)?, number("maxContains", usize::MAX)?);
            keywords.push(Keyword::Contains { item, least, most });
        }
        Ok(keywords)
    }

    fn count_pattern(&mut self, place: &str) -> ReadResult<()> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            return refused(
                place,
                format!("is one more than the {MAX_PATTERNS} patterns that a schema may hold"),
            );
        }
        Ok(())
    }

    /// A schema that asks for itself, at the very value that it is asked of, would never be done. What is left when
    /// everything is taken away that asks for nothing more is such a circle.
    fn refuse_circles(&self) -> ReadResult<()> {
        let edges = |place: usize| self.subschemas[place].iter().flat_map(Keyword::in_place);
        let count = self.subschemas.len();
        let mut asked_by = vec![Vec::new(); count];
        let mut open = vec![0_usize; count];
        for (place, open) in open.iter_mut().enumerate() {
            for asked in edges(place) {
                asked_by[asked.0].push(place);
                *open += 1;
            }
        }
        let mut done: Vec<usize> = (0..count).filter(|place| open[*place] == 0).collect();
        while let Some(place) = done.pop() {
            for asking in std::mem::take(&mut asked_by[place]) {
                open[asking] -= 1;
                if open[asking] == 0 {
                    done.push(asking);
                }
            }
        }
        match open.iter().position(|open| *open > 0) {
            Some(place) => refused(&self.pointers[place], "asks for itself without end"),
            None => Ok(()),
        }
    }
}

fn refuse_duplicates(members: &Members<'_>, pointer: &str) -> ReadResult<()> {
    match members.duplicate() {
        Some(name) => refused(&below(pointer, name), "is there twice"),
        None => Ok(()),
    }
}
