/** `remit init`: writes a remit.yaml in which every key stands, commented out, with its default and what it does. */
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { local, type LocalOptions } from '../command.ts';
import { keyRows } from '../config-docs.ts';
import { CliFailure } from '../failure.ts';
import { show } from '../output.ts';

export function initCommand(program: Command): void {
  local(program, 'init', 'Write a commented remit.yaml', 'remit init')
    .option('-f, --file <path>', 'where to write it', 'remit.yaml')
    .action((options: LocalOptions & { file: string }) => {
      try {
        writeFileSync(options.file, initialConfig(), { flag: 'wx', mode: 0o640 });
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        throw new CliFailure(
          'failed',
          code === 'EEXIST'
            ? `${options.file} exists already and is left as it is.`
            : `${options.file} cannot be written (${code ?? 'unknown error'}).`,
          'Name another file with --file.',
        );
      }
      show(
        options,
        { file: options.file },
        ({ file }) =>
          `${file} is written. Every key is commented out and shows its default; check it with \`remit doctor --config ${file}\`.`,
      );
    });
}

/** The text of a new remit.yaml: it loads as it is, with all defaults. */
export function initialConfig(): string {
  const lines = [
    '# Settings of one Remit process. Every key is shown with its default; remove the # to change it.',
    '# All of them are explained in docs/guides/configuration.md.',
    '',
  ];
  for (const row of keyRows()) {
    const parts = row.key.split('.');
    // Elements of lists and what has no default are shown by the guide; an example here would look like a setting.
    if (row.key.includes('[]')) continue;
    const indent = '  '.repeat(parts.length - 1);
    lines.push(...wrap(row.says).map((text) => `# ${indent}${text}`));
    const value = row.section
      ? ''
      : row.defaultText === ''
        ? ''
        : ` ${stringify(JSON.parse(row.defaultText), { collectionStyle: 'flow' }).trim()}`;
    lines.push(`# ${indent}${parts.at(-1) ?? ''}:${value}`, ...(row.section ? [] : ['#']));
  }
  return `${lines.join('\n')}\n`;
}

function wrap(text: string): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last.length + word.length > 100) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}
