/**
 * Text in a result that speaks to the model instead of the reader (CI-02): orders to drop other orders, borrowed roles, steering towards tools,
 * concealment, orders to send things away, orders that are encoded. English, and the first of these in ten other languages.
 * A HEURISTIC, for people and for labels: plain words pass it. What holds without it is policy over what a trace has received (AZ-10).
 */
import { searchFor } from '../../lib/needles.ts';
import type { Anchored } from '../../lib/needles.ts';
import { SIGN_RUN } from '../signs.ts';
import type { Detector, Found } from './found.ts';
import { NOTHING } from './found.ts';

/** A few words between two that matter. */
const FEW = "(?:[\\p{L}\\p{N}_'’,*-]{1,30}\\s{1,4}){0,4}?";
/** Between letters that are kept apart by anything. */
const GAP = '[\\s._*~-]{1,4}';
const WORDS = `(?:[\\p{L}\\p{N}'’,]{1,30}${GAP}){0,4}?`;
const MORE = '(?:[\\p{L}\\p{N}_\'’,*"-]{1,40}\\s{1,4}){0,9}?';
const MODEL =
  '(?:ai|a\\.i\\.|llms?|language models?|assistants?|agents?|models?|chatbots?|bots?|claude|chatgpt|gpt(?:-\\d)?|copilot|cursor|gemini)';
const SECRETS =
  '(?:(?:api|access|private|ssh|secret|signing|encryption) ?keys?|passwords?|credentials?|secrets?|tokens?|conversation|chat history|message history|system prompt|environment variables?|env vars?|\\.env|id_rsa|cookies?|private (?:repo(?:sitor(?:y|ies))?|files?|messages?|data|notes?)|customer (?:data|records?|list)|e-?mails?|inbox|contacts?|contents? of|everything (?:you|in|above)|all (?:the )?(?:files|data|messages|records|documents))';
const AWAY =
  '(?:https?://|[\\p{L}\\p{N}.+_-]{1,64}@[\\p{L}\\p{N}-]{1,63}\\.|\\bwebhook|\\b(?:the )?(?:following|this) (?:url|address|server|endpoint|link|e-?mail)|\\ban? (?:external|public)|\\bmy (?:server|e-?mail|address))';

interface Pattern extends Anchored {
  readonly kind: string;
}
const order = (kind: string, anchors: string, source: string): Pattern => ({
  kind,
  anchors: anchors.split('|'),
  pattern: new RegExp(source, 'yiu'),
});

/** INVARIANT: every repetition is bounded. Each pattern begins with one of its anchors. */
const PATTERNS: readonly Pattern[] = [
  order(
    'override',
    'ignore|disregard|forget|override|bypass|overrule|discard|neglect',
    `(?<![\\p{L}_-])(?:ignore|disregard|forget|override|bypass|overrule|discard|neglect)(?:ing)?${GAP}(?:about${GAP})?${WORDS}(?:previous|prior|earlier|above|preceding|other|system|your|all|any|existing|original|initial|former|every|everything)${GAP}${WORDS}(?:instructions?|rules?|prompts?|guidelines?|polic(?:y|ies)|restrictions?|directions?|directives?|orders?|guardrails?|constraints?|programming|training|safety|context|you (?:were|have been|know))`,
  ),
  order(
    'override',
    'new instruction|updated instruction|revised instruction|real instruction|actual instruction|new task|your new',
    '(?<!\\p{L})(?:(?:new|updated|revised|real|actual)\\s{1,4}(?:instructions?|system prompt)\\s{0,4}(?::|\\bare\\b|\\bfollow)|new task\\s{0,2}:|your new (?:instructions?|task|role|goal|objective|orders?|directive)s?\\b)',
  ),
  order(
    'override',
    'do not follow|stop following|instead of following|no longer',
    '(?:do not|stop|instead of|no longer)\\s{1,4}(?:follow(?:ing)?|bound by|obey(?:ing)?)\\s{1,4}(?:the|your|any|those|these)\\s{1,4}(?:[\\p{L}]{1,20}\\s){0,2}(?:instructions?|rules?|guidelines?|prompts?|policies|restrictions)',
  ),
  order(
    'override',
    'ignorier|vergiss|missachte',
    '(?:ignorier(?:e|en|t)?|vergiss|missachte)\\s(?:[^.\\n]{0,60}?)(?:anweisung|instruktion|regel|vorgabe|befehl|richtlinie)',
  ),
  order(
    'override',
    'ignore|oublie|ne tiens',
    '(?:ignor(?:e|ez|er)|oubli(?:e|ez|er)|ne tiens? (?:pas|plus) compte de)\\s[^.\\n]{0,40}?(?:instructions?|consignes?|règles?|directives?)(?:\\s[^.\\n]{0,20}?)(?:précédent|antérieur|ci-dessus|données|reçues|initiales)',
  ),
  order(
    'override',
    'ignora|ignore|olvida|omite|dimentica|esqueça|desconsidere|haz caso omiso',
    '(?:ignor[ae]n?|olvida|omite|haz caso omiso de|dimentica|esqueça|desconsidere)\\s[^.\\n]{0,50}?(?:instrucciones|reglas|indicaciones|órdenes|istruzioni|regole|instruções|regras|ordens)',
  ),
  order(
    'override',
    'negeer|vergeet|zignoruj|игнорируй|забудь|не обращай',
    '(?:negeer|vergeet|zignoruj|игнорируй(?:те)?|забудь(?:те)?|не обращай внимания на)\\s[^.\\n]{0,50}?(?:instructies|regels|opdrachten|instrukcje|polecenia|инструкци|указани|правила|команды)',
  ),
  order(
    'override',
    '忽略|无视|忘记|忽視|無視',
    '(?:忽略|无视|忘记|忽視|無視)[^。\\n]{0,16}?(?:指令|指示|说明|提示|規則|规则|命令)',
  ),
  order(
    'override',
    '指示を|命令を|指示は|지시|명령|지침',
    '(?:指示|命令)[をは][^。\\n]{0,12}?(?:無視|忘れ)|(?:지시|명령|지침)[^.\\n]{0,12}?(?:무시|잊)',
  ),
  order('override', 'تجاهل', 'تجاهل\\s[^.\\n]{0,40}?(?:التعليمات|الأوامر|القواعد)'),
  order(
    'role',
    '<|im_|<|system|<|user|<|assistant|<|start|<|end|<|eot|[inst]|[/inst]|<<sys|<</sys',
    '<\\|[a-z_]{2,32}\\|>|\\[/?INST\\]|<</?SYS>>',
  ),
  order(
    'role',
    '<system|</system|<assistant|</assistant|<instructions|<important|<admin|</tool_|<tool_result|<function_|</function_|<untrusted|</untrusted|</user|</result|</document',
    '</?(?:system(?:[-_ ](?:prompt|message|instructions?|reminder|override))?|assistant|instructions|important|admin(?:[-_]\\w{1,20})?|tool_(?:result|call|response|output)|function_(?:calls?|results?)|untrusted\\w{0,20}|user|document)>',
  ),
  order(
    'role',
    'system:|system prompt:|system message:|system override|system notice|assistant:|[system|### system|### instruction|admin override|developer message',
    '(?:(?:(?<=^|\\n[ \\t]{0,8})(?:#{1,6}\\s{0,3}|\\*\\*)?(?:system|assistant)(?:\\s(?:prompt|message|instructions?|override|notice))?\\s?(?:\\*\\*)?:\\s(?:[^\\n]{0,40}?)(?:\\byou\\b|\\bmust\\b|\\bignore\\b|\\balways\\b|\\bnever\\b|\\boverride\\b|\\bsure\\b|\\bi will\\b|\\bfrom now\\b))|\\[system(?:[ _-](?:prompt|message|note|override|instruction|notice|update))?\\]|system override|admin override|#{2,4} (?:system|instructions?)(?: prompt)?:|developer message:)',
  ),
  order(
    'persona',
    'you are now|from now on|you will now|pretend to be|act as|developer mode|jailbr|enter into|roleplay',
    '(?:you (?:are|will) now\\s(?:(?:be|act|become|operate|enter|in|an?|the|DAN|obey|unrestricted|free|connected|acting)\\b)|from now on,?\\s{1,3}(?:you|always|never|act|every|all (?:your )?(?:answers|responses|replies))|(?:act as|pretend to be)\\s{1,3}(?:if you (?:are|were|have)|(?:an? )?(?:unrestricted|uncensored|evil|different|root|admin|jailbroken|system administrator))|(?:enter|enable|activate|switch (?:in)?to)\\s(?:developer|debug|god|admin|maintenance|unrestricted|dan) mode|developer mode (?:enabled|on)|jailbr(?:eak|oken) (?:mode|enabled))',
  ),
  order(
    'addressed',
    'ai |assistant|agent|language model|llm|model|claude|chatgpt|copilot|bots',
    `(?<=(?:^|[^\\p{L}])(?:if you are (?:an? )?|attention,?:? (?:all )?(?:the )?|(?:note|message|instructions?|notice|directive|reminder|request|important) (?:to|for) (?:the |any |all |an )?|dear |hey |hello |hi |any |all )(?:[\\p{L}]{1,12} ){0,2})${MODEL}(?:\\s(?:agents?|assistants?|models?|systems?|tools?))?(?:\\s(?:reading|processing|parsing|summari[sz]ing|that (?:reads?|process(?:es)?)|who (?:reads?))\\b|\\s?[:,—-]\\s?(?:you|please|do|when|before|call|use|run|send|ignore|stop|the|read|include|add|always|never|first|after|it is)\\b)`,
  ),
  order(
    'addressed',
    'ai |assistants |agents |models ',
    '(?:ai )?(?:assistants?|agents?|models?) (?:reading|processing|parsing|summari[sz]ing|indexing) this\\b',
  ),
  order(
    'addressed',
    'as an ai|as a language model|as the assistant|as an assistant|as your',
    '(?:as (?:an? )?(?:ai|language model|(?:the |an )?(?:ai )?(?:assistant|agent))),? (?:you (?:must|should|need|have|are|will|shall|can)|it is your|your (?:task|job|duty|goal))',
  ),
  order(
    'tool',
    'you must|you should|you need to|you have to|you are required|please|immediately|now call|now use|now run|then call|then use|first call|first use',
    `(?:you (?:must|should|need to|have to|are required to)|please|immediately|now|then|first),?\\s{1,4}(?:(?:now|first|also|immediately|always|then|next|use|using)\\s{1,4}){0,3}(?:to\\s)?(?:call|use|using|invoke|run|execute|trigger)\\s{1,4}${FEW}[\`"']?[\\p{L}\\p{N}_.-]{2,60}[\`"']?\\s(?:tool|function|command|mcp|plugin)\\b`,
  ),
  order(
    'tool',
    'use the|call the|invoke the|run the|using the|use your|call your|using your|call `|use `|invoke `|execute the',
    `(?<![\\p{L}])(?:use|call|invoke|run|using|execute) (?:the |your )?[\`"'']?[\\p{L}\\p{N}]{1,30}(?:[_./-][\\p{L}\\p{N}]{1,30}){1,5}[\`"']?(?:\\(\\))?\\s(?:(?:tool|function)\\s)?(?:to|with|and|on|for)\\s${MORE}(?:read|send|fetch|delete|post|upload|get|list|create|write|forward|copy|collect|export|transfer|merge|download|push|share|arguments?|https?|path|all|every)\\b`,
  ),
  order(
    'tool',
    'before answering|before responding|before you answer|before you respond|before continuing|before replying|before summari|to complete this request|in order to continue|to proceed|before you continue|to unlock|to verify',
    `(?:before (?:answering|responding|continuing|replying|summari[sz]ing|you (?:answer|respond|continue|reply|summari[sz]e))|to (?:complete (?:this|the|your) (?:request|task)|proceed|unlock\\s${FEW}|verify your \\p{L}{1,20})|in order to continue),?\\s${FEW}(?:call|use|invoke|run|execute|read|open|send|fetch|post|visit|include|copy|forward|load|retrieve|provide|delete|create|append)\\b`,
  ),
  order(
    'conceal',
    "do not|don't|don’t|never|must not|without|no need to|avoid|should not",
    `(?<![\\p{L}])(?:do not|don['’]t|never|must not|should not|without|no need to|avoid)\\s{1,4}${FEW}(?:tell(?:ing)?|mention(?:ing)?|inform(?:ing)?|reveal(?:ing)?|notify(?:ing)?|alert(?:ing)?|warn(?:ing)?|disclos(?:e|ing)|show(?:ing)?|ask(?:ing)?|report(?:ing)?)\\s{1,4}${FEW}(?:to\\s)?(?:the |your |any |end )*(?:users?|humans?|person|anyone|anybody|operators?|owner|reader|him|her|about this (?:message|instruction|step|note))\\b`,
  ),
  order(
    'conceal',
    'silently|secretly|covertly|quietly|discreetly',
    `(?<![\\p{L}])(?:silently|secretly|covertly|quietly|discreetly)\\s{1,4}${FEW}(?:send|call|read|forward|copy|include|attach|upload|add|run|execute|pass|append|post|delete|transfer|insert|email|create)\\b`,
  ),
  order(
    'conceal',
    'the user|the human|user must|user should',
    "(?:the )?(?:user|human) (?:must|should|need|does|may|will|can|is)\\s{0,2}(?:not|n['’]t|never)\\s(?:to\\s)?(?:know|see|notice|be (?:told|informed|made aware|notified)|aware|find out)",
  ),
  order(
    'conceal',
    'keep this|hide this|keep these|hide these|keep it',
    `(?:keep|hide) (?:this|these|it)\\s(?:[\\p{L}]{1,20}\\s){0,3}(?:from (?:the |your )?(?:user|human|operator|owner|reader)s?|(?:secret|hidden|confidential) from)`,
  ),
  order(
    'exfil',
    'send|post|forward|upload|email|e-mail|transmit|leak|exfiltrate|append|copy|paste|share|submit|deliver|encode|include|put|attach|report|bcc',
    `(?<![\\p{L}-])(?:send|post|forward|upload|e-?mail|transmit|leak|exfiltrate|append|copy|paste|share|submit|deliver|encode|include|put|attach|report|bcc)\\s{1,4}[^\\n]{0,60}?${SECRETS}[^\\n]{0,80}?(?:\\b(?:to|at|via|into|in|with|as|by)\\s{1,4}[^\\n]{0,40}?)${AWAY}`,
  ),
  order(
    'exfil',
    'send|forward|email|post|bcc|upload|transmit',
    `(?<![\\p{L}-])(?:send|forward|e-?mail|post|bcc|upload|transmit)\\s{1,4}(?:it|this|them|that|the (?:result|results|output|answer|contents?|data|response|file|list|summary|key|value)|everything|all of (?:it|them|this)|a copy)\\s{1,4}(?:[\\p{L}]{1,16}\\s){0,3}to\\s{1,4}${AWAY}`,
  ),
  order(
    'exfil',
    'read|cat|open|print|output|include',
    `(?<![\\p{L}-])(?:read|cat|open|print|output|include)\\s{1,4}[^\\n.]{0,50}?(?:~/\\.(?:ssh|aws|kube|config|gnupg|npmrc|netrc)|/etc/(?:passwd|shadow)|(?<![\\p{L}\\p{N}])\\.env\\b|id_rsa|id_ed25519|mcp\\.json|claude_desktop_config|\\.git-credentials)[^\\n]{0,100}?(?:\\b(?:and|then)\\b)[^\\n]{0,40}?(?:send|include|post|pass|put|append|paste|tell|upload|use|return|write|add|forward|report)`,
  ),
  order(
    'exfil',
    'reveal|print|repeat|output|show|display|tell me|what is|write out|recite|include',
    '(?<![\\p{L}])(?:reveal|print|repeat|output|show|display|tell me|what is|write out|recite|include)\\s(?:me\\s)?(?:your|the|all)\\s(?:[\\p{L}]{1,16}\\s){0,3}(?:system prompt|initial prompt|hidden (?:prompt|instructions)|(?:initial|original|secret|system) instructions|instructions (?:above|you were given))',
  ),
];

export const SIGN_INSTRUCTION = 512;
export const INSTRUCTION_WORDS: readonly string[] = [...new Set(PATTERNS.flatMap(({ anchors }) => anchors))];
const search = searchFor(PATTERNS);

export const instructions: Detector = {
  name: 'instructions',
  version: 1,
  family: 'instruction',
  signs: SIGN_INSTRUCTION | SIGN_RUN,
  find: (text, _terms, signs) => {
    const found: Found[] = [];
    if ((signs & SIGN_INSTRUCTION) !== 0) plainOrders(text, found);
    if ((signs & SIGN_RUN) !== 0) encodedOrders(text, found);
    return found.length === 0 ? NOTHING : found;
  },
};

function plainOrders(text: string, found: Found[]): void {
  search(text, ({ kind }, _index, match) => {
    found.push({ class: `instruction.${kind}`, start: match.index, end: match.index + match[0].length });
  });
}

/** Base64 or hexadecimal that reads as an order. ATTACKER-CONTROLLED: how many runs stand before it; each is decoded once. */
const ENCODED = /(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{24,4000}={0,2}(?![A-Za-z0-9+/_=-])/g;
const READABLE = /^[\t\n\r -~]+$/;
function encodedOrders(text: string, found: Found[]): void {
  for (const { index, 0: run } of text.matchAll(ENCODED)) {
    const hex = /^(?:[0-9a-fA-F]{2})+$/.test(run);
    const how = hex ? 'hex' : 'base64';
    // Digests and random bytes end here.
    if (!READABLE.test(Buffer.from(run.slice(0, 16), how).toString('latin1'))) continue;
    const decoded = Buffer.from(run, how).toString('latin1');
    if (!READABLE.test(decoded) || !/[a-z]{2,} [a-z]{2,}/i.test(decoded)) continue;
    const inside: Found[] = [];
    plainOrders(decoded, inside);
    if (inside.length > 0 || /\b(?:ignore|curl|wget|send|forward|upload|execute|you must|do not tell)\b/i.test(decoded))
      found.push({ class: 'instruction.encoded', start: index, end: index + run.length });
  }
}
