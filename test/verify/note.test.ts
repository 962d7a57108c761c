/** Signed notes, verifier keys and checkpoints: the specification's examples, and everything that must be refused. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatCheckpoint, openCheckpoint, parseCheckpoint } from '../../src/verify/checkpoint.ts';
import { FormatError } from '../../src/verify/format-error.ts';
import { checkNote, formatNote, parseNote, parseVkey } from '../../src/verify/note.ts';
import { signerOf } from '../../src/audit/keys.ts';
import { ORIGIN, signer, testKey } from '../audit/fixtures.ts';

const SPEC_VKEY = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
const SPEC_NOTE = `This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`;
const SPEC_CHECKPOINT = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
`;
const root = Buffer.alloc(32, 1);
const ours = signer.sign(formatCheckpoint({ origin: ORIGIN, size: 3, root }));

describe('notes', () => {
  test('the example of the specification verifies', () => {
    const checked = checkNote(parseNote(SPEC_NOTE), [parseVkey(SPEC_VKEY)]);
    expect(checked).toMatchObject({ ok: true, text: 'This is an example message.\n' });
  });

  test('what we sign has the form of the specification and verifies from its text alone', () => {
    const checked = checkNote(parseNote(ours), [parseVkey(signer.vkey.text)]);
    expect(checked.ok && checked.signers.map(({ name }) => name)).toEqual([ORIGIN]);
  });

  test('one changed byte of the text fails the signature and refuses the note', () => {
    const changed = SPEC_NOTE.replace('example message', 'example massage');
    expect(checkNote(parseNote(changed), [parseVkey(SPEC_VKEY)])).toEqual({
      ok: false,
      reason: 'bad_signature',
      keys: ['example.com/foo+530d903a'],
    });
  });

  test('a note signed by nobody we trust is refused and says who signed', () => {
    expect(checkNote(parseNote(SPEC_NOTE), [signer.vkey])).toEqual({
      ok: false,
      reason: 'no_known_key',
      keys: ['example.com/foo+530d903a'],
    });
  });

  test('unknown signatures are ignored beside a known one, whatever their type', () => {
    const both = `${ours}— witness.example ${Buffer.alloc(2424, 9).toString('base64')}\n`;
    expect(checkNote(parseNote(both), [signer.vkey])).toMatchObject({ ok: true });
  });

  test('a failing signature of a known key refuses the note although another verifies', () => {
    const second = signerOf('second.example/key', testKey(8));
    const text = formatCheckpoint({ origin: ORIGIN, size: 3, root });
    const broken = `${ours}${formatNote(text, second.vkey, Buffer.alloc(64)).slice(text.length + 1)}`;
    expect(checkNote(parseNote(broken), [signer.vkey, second.vkey])).toMatchObject({
      ok: false,
      reason: 'bad_signature',
    });
  });

  test.each([
    ['no blank line', 'text\n— a AAAAAAA=\n', 'the note has no blank line before its signatures'],
    ['no signature', 'text\n\n', 'the note has no signature lines or does not end in a newline'],
    ['no newline at the end', SPEC_NOTE.slice(0, -1), 'the note has no signature lines or does not end in a newline'],
    ['a carriage return', SPEC_NOTE.replaceAll('\n', '\r\n'), 'the note has control characters or is not UTF-8'],
    ['a NUL', `\u0000${SPEC_NOTE}`, 'the note has control characters or is not UTF-8'],
    ['a lone surrogate', `\ud800${SPEC_NOTE}`, 'the note has control characters or is not UTF-8'],
    ['a hyphen for a dash', SPEC_NOTE.replace('—', '-'), 'a signature line has the form: em dash, name, base64'],
    ['a fourth word', SPEC_NOTE.replace('aQM=', 'aQM= x'), 'a signature line has the form: em dash, name, base64'],
    ['unpadded base64', SPEC_NOTE.replace('aQM=', 'aQM'), 'a signature line has the form: em dash, name, base64'],
    [
      'a second spelling of base64',
      SPEC_NOTE.replace('aQM=', 'aQN='),
      'a signature line has the form: em dash, name, base64',
    ],
    [
      'a plus in a name',
      SPEC_NOTE.replace('com/foo', 'com+foo'),
      'a signature line has the form: em dash, name, base64',
    ],
    ['65 signatures', `t\n\n${'— a AAAAAAA=\n'.repeat(65)}`, 'the note has too many signatures'],
    ['a long text', `${'x'.repeat(300_000)}\n${SPEC_NOTE}`, 'the note is too long'],
  ])('refuses a note with %s', (_, note, message) => {
    expect(() => parseNote(note)).toThrow(new FormatError('malformed_note', message));
  });

  test('refuses bytes that are not UTF-8', () => {
    expect(() => parseNote(Buffer.from([0xff, 0x0a, 0x0a]))).toThrow('the note is not UTF-8');
  });
});

describe('verifier keys', () => {
  test('text and key are one to one', () => {
    expect(parseVkey(SPEC_VKEY).text).toBe(SPEC_VKEY);
    expect(parseVkey(signer.vkey.text)).toMatchObject({ name: ORIGIN, id: signer.vkey.id });
  });

  test.each([
    ['no id', 'example.com/foo', 'a verifier key has the form name+id+base64'],
    ['another id', SPEC_VKEY.replace('530d903a', '530d903b'), 'the id of the verifier key does not belong to it'],
    [
      'upper case in the id',
      SPEC_VKEY.replace('530d903a', '530D903A'),
      'the id of the verifier key does not belong to it',
    ],
    ['another name', SPEC_VKEY.replace('foo', 'bar'), 'the id of the verifier key does not belong to it'],
    ['another type', SPEC_VKEY.replace('+Aek', '+Auk'), 'the verifier key is not an Ed25519 key (type 1, 32 bytes)'],
    ['a short key', 'a+00000000+AQ==', 'the verifier key is not an Ed25519 key (type 1, 32 bytes)'],
    ['a space in the name', SPEC_VKEY.replace('.com', ' com'), 'a key name has no spaces, controls or plus signs'],
  ])('refuses a verifier key with %s', (_, text, message) => {
    expect(() => parseVkey(text)).toThrow(new FormatError('malformed_vkey', message));
  });
});

describe('checkpoints', () => {
  test('the example of the specification is read', () => {
    expect(parseCheckpoint(parseNote(SPEC_CHECKPOINT).text)).toMatchObject({
      origin: 'example.com/behind-the-sofa',
      size: 20_852_163,
    });
  });

  test('extension lines are read past', () => {
    expect(parseCheckpoint(`${formatCheckpoint({ origin: 'o', size: 0, root })}extension\n`).size).toBe(0);
  });

  test.each([
    ['a leading zero', 'o\n03\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n'],
    ['a negative size', 'o\n-3\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n'],
    ['a size above 2^53', 'o\n9007199254740993\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n'],
    ['a short root', 'o\n3\nAQE=\n'],
    ['no origin', '\n3\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n'],
    ['an empty extension line', 'o\n3\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\nx\n'],
    ['two lines', 'o\n3\n'],
  ])('refuses a checkpoint with %s', (_, text) => {
    expect(() => parseCheckpoint(text)).toThrow(
      new FormatError('malformed_checkpoint', 'a checkpoint is three lines: origin, size, root hash'),
    );
  });

  test('a key cannot speak for a log of another name', () => {
    const foreign = signer.sign(formatCheckpoint({ origin: 'other.example/log', size: 3, root }));
    expect(openCheckpoint(foreign, [signer.vkey])).toEqual({
      ok: false,
      message: 'the checkpoint speaks for "other.example/log", which is not the name of its key',
    });
  });

  test('every single changed bit of a checkpoint is refused', () => {
    const bytes = Buffer.from(ours);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const copy = Buffer.from(bytes);
      copy[bit >> 3]! ^= 1 << (bit & 7);
      let accepted = false;
      try {
        accepted = openCheckpoint(copy, [signer.vkey]).ok;
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
      }
      expect(accepted, `bit ${bit}`).toBe(false);
    }
  });
});

test('the parsers of notes, keys and checkpoints accept or say FormatError, whatever comes', () => {
  const pieces = fc.constantFrom(
    '\n',
    '\n\n',
    '— ',
    'a',
    ' ',
    '+',
    '3',
    'AAAAAAA=',
    '\u2003',
    '\ud800',
    '—',
    ours,
    SPEC_NOTE,
  );
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(hostile, (text) => {
      for (const parse of [parseNote, parseVkey, parseCheckpoint]) {
        try {
          parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }
    }),
    { seed: 11, numRuns: 500 },
  );
});
