/**
 * What one text of a definition says to a model that it does not say to a reader, or that no description needs to say (TD-05): comments, roles,
 * orders about other tools, files and people, encoded orders, what loads by itself.
 * INVARIANT: own patterns; every repetition is bounded, or over a class that the next part cannot match, so a text costs linear time.
 */

export type TextCode =
  | 'markup_comment'
  | 'role_token'
  | 'overrides_instructions'
  | 'conceals'
  | 'steers_other_tools'
  | 'instructs_reader'
  | 'names_sensitive_file'
  | 'reads_sensitive_file'
  | 'sends_elsewhere'
  | 'loads_by_itself'
  | 'collects_context'
  | 'encoded_blob'
  | 'encoded_text'
  | 'encoded_instructions';

export interface TextFinding {
  readonly code: TextCode;
  readonly severity: 'block' | 'hold' | 'warn' | 'info';
  readonly span: readonly [start: number, end: number];
}

/** A few words between two that matter. */
const FEW = "(?:[\\w'’-]{1,30}\\s{1,4}){0,4}";
const FILE =
  '(?:(?:~|\\$HOME|%USERPROFILE%|/root|/home/\\w{1,32}|/Users/\\w{1,32})[/\\\\]\\.[\\w.-]{2,32}|\\bid_(?:rsa|ed25519|ecdsa)\\b|/etc/(?:passwd|shadow|sudoers)\\b|' +
  '(?<![\\w.])\\.(?:ssh|aws|kube|gnupg)[/\\\\]|(?<![\\w.])\\.(?:env|npmrc|netrc|pgpass|git-credentials)\\b|\\bmcp\\.json\\b|\\bclaude_desktop_config|/proc/(?:self|\\d{1,7})/environ|\\bwallet\\.dat\\b)';
const ADDRESS = '(?:https?://[^\\s)"\'<>]{4,200}|\\b[\\w.+-]{1,64}@[\\w-]{1,63}(?:\\.[\\w-]{1,63}){1,4})';

const PATTERNS: ReadonlyArray<readonly [TextCode, TextFinding['severity'], RegExp]> = [
  ['markup_comment', 'hold', /<!--|\[\/\/\]:\s{0,4}#|\/\*[^*]{0,200}\*\//g],
  [
    'role_token',
    'hold',
    /<\|[a-z_]{1,32}\|>|\[\/?INST\]|<<\/?SYS>>|<\/?(?:system|important|assistant|instructions?|hidden|secret|tool_call|s)>|(?:^|\n)\s{0,8}(?:#{1,6}\s{0,4})?(?:system|assistant|human)(?:\s(?:prompt|message|instructions?))?:\s/gi,
  ],
  [
    'overrides_instructions',
    'hold',
    new RegExp(
      `\\b(?:ignore|disregard|forget|override|bypass)\\s{1,4}${FEW}(?:previous|prior|earlier|above|other|system|your|all)\\s{1,4}${FEW}(?:instructions?|rules?|prompts?|guidelines?|polic(?:y|ies)|restrictions?)\\b|\\bnew\\s{1,4}instructions?\\s{0,4}:`,
      'gi',
    ),
  ],
  [
    'conceals',
    'hold',
    new RegExp(
      `\\b(?:do not|don['’]t|never|must not|without|no need to|avoid)\\s{1,4}${FEW}(?:tell|telling|mention|mentioning|inform|informing|reveal|revealing|notify|notifying|alert|alerting|ask|asking|warn|warning|disclose|disclosing|show|showing)\\s{1,4}${FEW}(?:users?|human|person|anyone|anybody|operator|them)\\b|` +
        `\\b(?:silently|secretly|covertly|quietly)\\s{1,4}${FEW}(?:send|call|read|forward|copy|include|attach|upload|add|run|execute|pass|append)\\b|\\b(?:hide|keep)\\s{1,4}(?:this|it|these|that)\\s{1,4}${FEW}(?:from|secret|hidden)\\b|` +
        `\\b(?:user|human|person)\\s{1,4}(?:must|should|need|does|may|will|can)\\s{0,4}(?:not|n['’]t|never)\\s{1,4}${FEW}(?:know|see|notice|told|aware)\\b`,
      'gi',
    ),
  ],
  [
    'steers_other_tools',
    'hold',
    new RegExp(
      `\\b(?:when|whenever|before|after|each time|every time)\\s{1,4}${FEW}(?:any|all|every|other|another)\\s{1,4}${FEW}(?:tools?|functions?|servers?)\\b|\\b(?:never|do not|don['’]t|stop)\\s{1,4}(?:use|using|call|calling|invoke|trust)\\s{1,4}${FEW}(?:other|another|any)\\b|` +
        `\\binstead\\s{1,4}of\\s{1,4}${FEW}[\\w./-]{1,60}\\s{1,4}tools?\\b|\\bmust\\s{1,4}be\\s{1,4}(?:called|used|invoked|run)\\s{1,4}(?:before|first|prior|instead)\\b|\\b(?:other|all|any)\\s{1,4}tools?\\s{1,4}${FEW}(?:deprecated|broken|unsafe|disabled|insecure|obsolete)\\b`,
      'gi',
    ),
  ],
  [
    'instructs_reader',
    'warn',
    /\b(?:before (?:using|calling) (?:this|any)|(?:always|first) (?:call|use|read|invoke|run)|must (?:first |always )?(?:call|read|invoke|include|pass|send)|you (?:must|should|have to) (?:always|first|also)|you are now)\b/gi,
  ],
  ['names_sensitive_file', 'warn', new RegExp(FILE, 'g')],
  [
    'reads_sensitive_file',
    'hold',
    new RegExp(
      `\\b(?:read|open|cat|load|include|pass|send|attach|append|copy|fetch|upload|put|contents?)\\b[^.\\n]{0,80}?${FILE}`,
      'gi',
    ),
  ],
  [
    'sends_elsewhere',
    'hold',
    new RegExp(`\\b(?:send|post|upload|forward|transmit|report|copy|bcc|cc|deliver)\\b[^.\\n]{0,80}?${ADDRESS}`, 'gi'),
  ],
  [
    'loads_by_itself',
    'hold',
    /!\[[^\]\n]{0,200}\](?:\(|\[)|<(?:img|iframe|script|object|embed|link|video|audio|source|meta|base|form|svg)\b[^>]{0,300}|\]\(\s{0,4}(?:javascript|data|vbscript|file):/gi,
  ],
  [
    'collects_context',
    'hold',
    /\b(?:entire|full|complete|whole|all of the|verbatim)\s{1,4}(?:conversation|chat|context|history|system prompt|message history|dialogue)|\b(?:your|the) (?:system prompt|chain of thought|hidden instructions)\b/gi,
  ],
];

/** A parameter that asks for what the model has in mind rather than for what the tool needs. */
export const CONTEXT_NAME =
  /^(?:system_?prompt|conversation(?:_?(?:history|context))?|chat_?history|full_?(?:context|conversation)|chain_?of_?thought|reasoning_?trace|previous_?messages|message_?history|available_?tools|tool_?list|scratch_?pad)$/i;

const MAX_PER_PATTERN = 20;

/** In the order of the patterns; at most 20 of a kind. */
export function textFindings(text: string): TextFinding[] {
  const found: TextFinding[] = [];
  for (const [code, severity, pattern] of PATTERNS) {
    let left = MAX_PER_PATTERN;
    for (const { index, 0: match } of text.matchAll(pattern)) {
      found.push({ code, severity, span: [index, index + match.length] });
      if (--left === 0) break;
    }
  }
  for (const { start, end, decoded } of encodedRuns(text)) {
    const code = decoded === null ? 'encoded_blob' : ordersSomething(decoded) ? 'encoded_instructions' : 'encoded_text';
    const severity = code === 'encoded_instructions' ? 'block' : code === 'encoded_text' ? 'hold' : 'warn';
    found.push({ code, severity, span: [start, end] });
  }
  return found;
}

/** An order that somebody took the trouble to encode needs no further proof. */
const ORDER =
  /\b(?:ignore|read|send|call|invoke|forward|upload|execute|run|curl|wget|fetch|tell|must|always|never|https?:)\b/i;
const ordersSomething = (decoded: string): boolean =>
  ORDER.test(decoded) ||
  PATTERNS.some(([, severity, pattern]) => severity === 'hold' && decoded.search(pattern) !== -1);

const LONG_BLOB = 160;

/** Base64, hexadecimal, `\x69` and `&#105;` runs: those that decode to words, and long ones that decode to nothing readable. */
function* encodedRuns(text: string): Generator<{ start: number; end: number; decoded: string | null }> {
  for (const { index, 0: run } of text.matchAll(/[A-Za-z0-9+/_-]{16,}={0,2}/g)) {
    const hex = /^(?:[0-9a-fA-F]{2})+$/.test(run);
    const decoded = readable(Buffer.from(run, hex ? 'hex' : 'base64'));
    if (decoded !== null || (run.length >= LONG_BLOB && !isDataUri(text, index)))
      yield { start: index, end: index + run.length, decoded };
  }
  for (const { index, 0: run } of text.matchAll(
    /(?:(?:\\x|%|\\u00)[0-9a-fA-F]{2}){8,}|(?:&#x?[0-9a-fA-F]{2,4};){8,}/g,
  )) {
    const codes = [...run.matchAll(/&#(\d{2,4});|([0-9a-fA-F]{2});?(?=[\\%&]|$)/g)].map(([, decimal, hexadecimal]) =>
      decimal === undefined ? Number.parseInt(hexadecimal ?? '0', 16) : Number(decimal),
    );
    yield { start: index, end: index + run.length, decoded: readable(Buffer.from(codes.map((code) => code & 0xff))) };
  }
}

const isDataUri = (text: string, at: number): boolean =>
  /data:[\w/+.-]{1,60};base64,$/.test(text.slice(Math.max(0, at - 80), at));

/** The bytes as words: printable ASCII of which some is a space between letters; else null. */
function readable(bytes: Buffer): string | null {
  if (bytes.length < 12) return null;
  const text = bytes.toString('latin1');
  return /^[\t\n\r -~]+$/.test(text) && /[a-z]{2,} [a-z]{2,}/i.test(text) ? text : null;
}
