//! How what layer 2 holds is packed into bytes for a checkpoint: numbers, texts and bytes, one after the other.
//!
//! Numbers up to 32 bits are varints of 7 bits a byte, 64 bits are little endian; texts and bytes have their length in
//! front. Reading never trusts what it reads: every answer is `Damaged` or within the bytes.

/// The bytes are not what was packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the checkpoint of layer 2: {0}")]
pub struct Damaged(pub(crate) &'static str);

/// Packs values.
#[derive(Debug, Default)]
pub(crate) struct Packer(pub(crate) Vec<u8>);

impl Packer {
    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn number(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn word(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        // Longer ones than 4 GiB cannot come out of events of at most megabytes.
        self.number(bytes.len() as u32);
        self.0.extend(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

/// Reads packed values in the order in which they were packed.
#[derive(Debug)]
pub(crate) struct Unpacker<'a>(pub(crate) &'a [u8]);

impl<'a> Unpacker<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Damaged("it is cut off"))?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        let (byte, rest) = self.0.split_first().ok_or(Damaged("it is cut off"))?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(crate) fn number(&mut self) -> Result<u32, Damaged> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged("a number does not end"))
    }

    pub(crate) fn word(&mut self) -> Result<u64, Damaged> {
        let bytes = self.take(8)?.try_into();
        bytes
            .map(u64::from_le_bytes)
            .map_err(|_| Damaged("it is cut off"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let len = self.number()?;
        self.take(len as usize)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged("a text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_read_back_and_nothing_beyond() {
        let mut packer = Packer::default();
        packer.byte(7);
        for number in [0, 127, 128, 300, u32::MAX] {
            packer.number(number);
        }
        packer.word(u64::MAX - 1);
        packer.text("é");
        let whole = packer.0;
        let read = |bytes: &[u8]| {
            let mut unpacker = Unpacker(bytes);
            let byte = unpacker.byte()?;
            let numbers: Vec<u32> = (0..5).map(|_| unpacker.number()).collect::<Result<_, _>>()?;
            let (word, text) = (unpacker.word()?, unpacker.text()?.to_owned());
            assert!(unpacker.is_empty());
            Ok::<_, Damaged>((byte, numbers, word, text))
        };
        let expect = (7, vec![0, 127, 128, 300, u32::MAX], u64::MAX - 1, "é".to_owned());
        assert_eq!(read(&whole), Ok(expect));
        for at in 0..whole.len() {
            assert!(read(&whole[..at]).is_err(), "cut at {at}");
        }
    }
}
