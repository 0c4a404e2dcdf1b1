//! Pickles, read as data: no name in them is looked up and nothing is called. What a state dict is made of is understood;
//! of other objects it is only known that they are there. Other opcodes than those that `torch.save` writes are refused.

use std::collections::HashMap;

/// A value, by its place in [`Pickle::values`]: values may be shared, and filled after they were stored away.
pub(super) type Id = usize;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    Int(i64),
    Text(String),
    /// Tuples, lists and sets.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name of something in Python, `module.name`.
    Global(String),
    /// What `torch.save` keeps elsewhere.
    Persistent(Id),
    /// A call that was not made: what would be called, with what.
    Call(Id, Id),
    /// Anything else.
    Opaque,
}

/// All values of a pickle.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    pub values: Vec<Value>,
}

/// What is wrong with a pickle of which there may be more.
pub(super) const ENDS_EARLY: &str = "it ends early";

/// Values that a pickle may have, uses of stored ones and copies included. A tensor takes some 40 of them, so these are
/// enough for 200,000 tensors in one file; their memory is about 400 MB.
const MAX_VALUES: usize = 1 << 23;
/// The longest `module.name` that is kept: those that are looked for are shorter.
const MAX_GLOBAL_BYTES: usize = 256;

fn left_of(left: usize, values: usize) -> Result<usize, String> {
    left.checked_sub(values).ok_or_else(|| format!("it has more than {MAX_VALUES} values, which no state dict needs"))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    pickle: Pickle,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// How many of [`MAX_VALUES`] are left.
    left: usize,
}

impl Pickle {
    /// Reads a pickle to its end: its values, the one that it is, and how many bytes it took.
    ///
    /// # Errors
    /// What is wrong with it, to be put into a sentence: an opcode outside the list, a stack that runs empty, more values
    /// than any state dict has, an early end ([`ENDS_EARLY`]).
    ///
    /// # Cost
    /// One pass over the bytes. Memory for the texts and at most [`MAX_VALUES`] values, whatever the pickle does.
    pub fn read(bytes: &[u8]) -> Result<(Self, Id, usize), String> {
        let mut reader = Reader {
            bytes,
            at: 0,
            pickle: Self::default(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            left: MAX_VALUES,
        };
        loop {
            let place = reader.at;
            let opcode = reader.take(1)?[0];
            if opcode == b'.' {
                let root = reader.pop()?;
                return Ok((reader.pickle, root, reader.at));
            }
            reader.step(opcode).map_err(
                |what| {
                    if what == ENDS_EARLY { what } else { format!("at byte {place} {what}") }
                },
            )?;
        }
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        match &self.values[id] {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<u64> {
        match &self.values[id] {
            Value::Int(int) => u64::try_from(*int).ok(),
            _ => None,
        }
    }

    pub fn list(&self, id: Id) -> Option<&[Id]> {
        match &self.values[id] {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn global(&self, id: Id) -> Option<&str> {
        match &self.values[id] {
            Value::Global(name) => Some(name),
            _ => None,
        }
    }
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8], String> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or(ENDS_EARLY)?;
        self.at += taken.len();
        Ok(taken)
    }

    /// A little-endian number of `len` bytes, at most eight.
    fn number(&mut self, len: u64) -> Result<u64, String> {
        Ok(self.take(len)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|b| *b == b'\n').ok_or(ENDS_EARLY)?;
        self.at += len + 1;
        Ok(String::from_utf8_lossy(&rest[..len]).into_owned())
    }

    /// Counts what is about to be kept: every opcode that fills memory comes by here.
    fn count(&mut self, values: usize) -> Result<(), String> {
        self.left = left_of(self.left, values)?;
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        self.count(1)?;
        self.stack.push(self.pickle.values.len());
        self.pickle.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err("a value is missing".to_owned());
        }
        self.stack.pop().ok_or_else(|| "a value is missing".to_owned())
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "a value is missing".to_owned())
    }

    /// All values since the last mark.
    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn text(&mut self, len_bytes: u64) -> Result<(), String> {
        let len = self.number(len_bytes)?;
        let text = String::from_utf8_lossy(self.take(len)?).into_owned();
        self.push(Value::Text(text))
    }

    fn opaque(&mut self, len: u64) -> Result<(), String> {
        self.take(len)?;
        self.push(Value::Opaque)
    }

    fn tuple(&mut self, len: usize) -> Result<(), String> {
        let mut items = (0..len).map(|_| self.pop()).collect::<Result<Vec<Id>, String>>()?;
        items.reverse();
        self.push(Value::List(items))
    }

    fn get(&mut self, key: u64) -> Result<(), String> {
        let id = self.memo.get(&key).copied().ok_or("a value is used that was never stored")?;
        self.count(1)?;
        self.stack.push(id);
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), String> {
        let target = self.top()?;
        let pairs = items.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value));
        if let Value::Dict(dict) = &mut self.pickle.values[target] {
            dict.extend(pairs);
        }
        Ok(())
    }

    /// An `OrderedDict`, which is called into being: filled later, or from a list of pairs.
    fn ordered_dict(&mut self, callable: Id, arguments: Id) -> Result<Option<Value>, String> {
        if self.pickle.global(callable) != Some("collections.OrderedDict") {
            return Ok(None);
        }
        let none = &[][..];
        let list = |id| self.pickle.list(id);
        let Some(items) = list(arguments).and_then(|list_of| list_of.first().map_or(Some(none), |id| list(*id))) else {
            return Ok(None);
        };
        let pair = |id: &Id| match list(*id) {
            Some([key, value]) => Some((*key, *value)),
            _ => None,
        };
        // The list may be used again and again.
        let left = left_of(self.left, items.len())?;
        let pairs = items.iter().filter_map(pair).collect();
        self.left = left;
        Ok(Some(Value::Dict(pairs)))
    }

    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        let target = self.top()?;
        if let Value::List(list) = &mut self.pickle.values[target] {
            list.extend(items);
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        // Both may be texts that are used again and again.
        if module.len() + name.len() > MAX_GLOBAL_BYTES {
            return self.push(Value::Opaque);
        }
        self.push(Value::Global(format!("{module}.{name}")))
    }

    fn step(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            // Protocol, frame: nothing to do.
            0x80 => _ = self.take(1)?,
            0x95 => _ = self.take(8)?,
            b'(' => {
                self.count(1)?;
                self.marks.push(self.stack.len());
            }
            b'N' => self.push(Value::None)?,
            0x88 | 0x89 => self.push(Value::Opaque)?,
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => {
                let int = self.number(4)? as u32 as i32;
                self.push(Value::Int(i64::from(int)))?;
            }
            0x8a => {
                let len = self.number(1)?;
                self.long(len)?;
            }
            b'G' => self.opaque(8)?,
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            b'C' => {
                let len = self.number(1)?;
                self.opaque(len)?;
            }
            b'B' => {
                let len = self.number(4)?;
                self.opaque(len)?;
            }
            b')' | b']' | 0x8f => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::List(items))?;
            }
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            0x94 => {
                let top = self.top()?;
                self.count(1)?;
                self.memo.insert(self.memo.len() as u64, top);
            }
            b'h' => {
                let key = self.number(1)?;
                self.get(key)?;
            }
            b'j' => {
                let key = self.number(4)?;
                self.get(key)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id| self.pickle.text(id).filter(|text| text.len() <= MAX_GLOBAL_BYTES);
                let name = text(module).zip(text(name)).map(|(module, name)| (module.to_owned(), name.to_owned()));
                let (module, name) = name.unwrap_or_default();
                self.global(&module, &name)?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let value = self.ordered_dict(callable, arguments)?.unwrap_or(Value::Call(callable, arguments));
                self.push(value)?;
            }
            // The state of an object that stays unknown; what nobody needs.
            b'b' | b'0' => _ = self.pop()?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(&items)?;
            }
            _ => return Err(format!("is the opcode {opcode:#04x}, which no state dict needs")),
        }
        Ok(())
    }

    fn int(&mut self, len: u64) -> Result<(), String> {
        let int = self.number(len)? as i64;
        self.push(Value::Int(int))
    }

    /// A signed number of any length; longer ones than 64 bits count things that are not there.
    fn long(&mut self, len: u64) -> Result<(), String> {
        if len > 8 {
            return self.opaque(len);
        }
        let number = self.number(len)?;
        let shift = 64 - 8 * len as u32;
        let int = if len == 0 { 0 } else { (number << shift) as i64 >> shift };
        self.push(Value::Int(int))
    }

    fn put(&mut self, len: u64) -> Result<(), String> {
        let (key, top) = (self.number(len)?, self.top()?);
        self.count(1)?;
        self.memo.insert(key, top);
        Ok(())
    }
}
