/** The tools of the everything server that answer without asking: every kind of content, errors, log lines, progress, streams, schemas. */
import { type Tool, NO_ARGUMENTS, PNG, WAV, pause, text } from './tool.ts';

const plain = (name: string, description: string, run: Tool['run']): Tool => ({
  name,
  description,
  inputSchema: NO_ARGUMENTS,
  run,
});

/** Every keyword here has to reach the client as it stands: the scenario json-schema-2020-12 looks for each. */
const CONTACT_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: {
      $anchor: 'addressDef',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } },
    },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
};

export const ANSWERING: readonly Tool[] = [
  plain('test_simple_text', 'Answers with one text.', () => text('Plain text, as asked.')),
  plain('test_image_content', 'Answers with one image.', () => ({
    content: [{ type: 'image', data: PNG, mimeType: 'image/png' }],
  })),
  plain('test_audio_content', 'Answers with one sound.', () => ({
    content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }],
  })),
  plain('test_embedded_resource', 'Answers with a resource inside the result.', () => ({
    content: [
      { type: 'resource', resource: { uri: 'test://embedded', mimeType: 'text/plain', text: 'Embedded content.' } },
    ],
  })),
  plain('test_multiple_content_types', 'Answers with a text, an image and a resource.', () => ({
    content: [
      { type: 'text', text: 'Three kinds of content:' },
      { type: 'image', data: PNG, mimeType: 'image/png' },
      { type: 'resource', resource: { uri: 'test://mixed', mimeType: 'application/json', text: '{"mixed":true}' } },
    ],
  })),
  plain('test_error_handling', 'Always fails.', () => ({
    ...text('This tool fails on purpose.'),
    isError: true,
  })),
  plain('test_tool_with_logging', 'Writes three log lines while it runs.', async (_args, ctx) => {
    for (const line of ['started', 'working', 'finished']) {
      await ctx.mcpReq.log('info', line);
      await pause(40, ctx.mcpReq.signal);
    }
    return text('Logged three lines.');
  }),
  plain('test_logging_tool', 'Writes one log line.', async (_args, ctx) => {
    await ctx.mcpReq.log('info', 'one line');
    return text('Logged one line.');
  }),
  plain('test_tool_with_progress', 'Reports progress at 0, 50 and 100 percent.', async (_args, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
      await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } });
      await pause(40, ctx.mcpReq.signal);
    }
    return text(progressToken === undefined ? 'Nobody wanted progress.' : 'Reported progress.');
  }),
  plain(
    'test_reconnection',
    'Closes its stream in the middle; the answer waits for the client.',
    async (_args, ctx, around) => {
      around.closeStream(ctx);
      await pause(100, ctx.mcpReq.signal);
      return text('The client came back.');
    },
  ),
  plain('test_streaming_elicitation', 'Answers at once: no request may stand beside the answer.', () =>
    text('No questions.'),
  ),
  plain('test_trigger_tool_change', 'Adds the tool that comes and goes, or takes it away.', (_args, _ctx, around) => {
    around.change('tools');
    return text('Changed the tools.');
  }),
  plain(
    'test_trigger_prompt_change',
    'Adds the prompt that comes and goes, or takes it away.',
    (_args, _ctx, around) => {
      around.change('prompts');
      return text('Changed the prompts.');
    },
  ),
  plain('touch_watched_resource', 'Says that the watched resource changed.', (_args, _ctx, around) => {
    around.change({ resource: 'test://watched-resource' });
    return text('Said that the resource changed.');
  }),
  {
    name: 'test_x_mcp_header',
    description: 'Has a parameter that also stands in a header.',
    inputSchema: {
      type: 'object',
      properties: { region: { type: 'string', 'x-mcp-header': 'Region' }, level: { type: 'integer' } },
    },
    run: ({ region }) => text(`region ${typeof region === 'string' ? region : 'not given'}`),
  },
  {
    name: 'json_schema_2020_12_tool',
    description: 'Has a schema that uses much of JSON Schema 2020-12.',
    inputSchema: CONTACT_SCHEMA,
    run: (args) => text(`called with ${JSON.stringify(args)}`),
  },
];
