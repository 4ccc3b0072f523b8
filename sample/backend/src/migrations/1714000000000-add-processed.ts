import type { MigrationInterface, QueryRunner } from "typeorm";

export class AddProcessed1714000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "vehicles" ADD "processed" boolean NOT NULL DEFAULT false`);
    await runner.query(`UPDATE "vehicles" SET "processed" = true`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "vehicles" DROP COLUMN "processed"`);
  }
}
