import type { MigrationInterface, QueryRunner } from "typeorm";

export class AddPhoto1712000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "vehicles" ADD "photo" character varying`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "vehicles" DROP COLUMN "photo"`);
  }
}
